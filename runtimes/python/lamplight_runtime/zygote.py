"""An interpreter that is ready, and forks itself into sandboxes.

`serve` loads what most functions need and then waits for the server. Each message brings
descriptors: a socket for the fork, the sandbox's init, and the sandbox's cgroups. The
fork enters the sandbox, says who it is, and makes the system calls that init tells it.
Only in such a fork does `serve` return: confined, with the environment of its function.

Invariants: nothing of a function is ever seen here; the fork learns its environment from
init. No module is looked for between the fork and the end of the confinement, and the
fork has none of the zygote's descriptors by then. Whatever fails ends the fork, and the
server starts the program another way. One thread, always.
"""

import _signal
import _socket
import ctypes
import gc
import json
import os
import struct
import sys
import time

from . import codec

# The largest message and the most descriptors of init's channel.
LARGEST = 160 * 1024
MOST = 8
CLONE3 = 435
CLONE_INTO_CGROUP = 0x200000000
NEW_PID = 0x20000000
# User, mounts, network, IPC, host name and cgroups.
NAMESPACES = 0x10000000 | 0x00020000 | 0x40000000 | 0x08000000 | 0x04000000 | 0x02000000
PR_SET_DUMPABLE = 4

# What functions use most, of what is in every Python.
MODULES = (
    "base64 bisect calendar collections concurrent.futures concurrent.futures.thread contextlib copy dataclasses "
    "datetime decimal email.message email.parser email.utils enum functools hashlib heapq hmac http.client io "
    "itertools json logging math numbers operator pathlib queue random re secrets select shutil signal socket "
    "ssl string struct subprocess tempfile textwrap threading time traceback types typing urllib.parse "
    "urllib.request uuid warnings weakref zlib"
).split()

# Without letting go of the interpreter's lock, which a raw clone could not take back.
_libc = ctypes.PyDLL(None, use_errno=True)
_syscall = _libc.syscall
_syscall.restype = ctypes.c_long
_syscall.argtypes = [ctypes.c_long] + [ctypes.c_ulong] * 6


def _check(answer):
    if answer < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def serve(number):
    """Returns in a fork that has become a program; the zygote itself ends in here."""
    control = _socket.socket(fileno=number)
    os.set_inheritable(number, False)
    del os.environ["_LAMPLIGHT_ZYGOTE"]
    _preload()
    # Forks are as closed to their neighbours as init is, until they are programs.
    _check(_libc.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0))
    # Reaps the first of the two forks by itself, so that no sandbox waits for us to do it.
    _signal.signal(_signal.SIGCHLD, _signal.SIG_IGN)
    with open("/proc/self/stat") as stat:
        # Where the kernel says that our variables are.
        room = range(*map(int, stat.read().rpartition(")")[2].split()[47:49]))
    home = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
    control.send(_about())
    gc.collect()
    gc.freeze()
    while True:
        message, descriptors = _receive(control, 64)
        if not message:
            os._exit(0)
        channel, init, *groups = descriptors
        group = groups.pop(0) if message == b"group" else None
        try:
            if _fork(init, group, home):
                break
        except OSError as error:
            sys.stderr.write("no fork: %s\n" % error)
        for descriptor in descriptors:
            os.close(descriptor)
    # The first fork. Its copies of what is the zygote's go before anything else.
    control.close()
    os.close(home)
    try:
        _enter(init, groups)
        orders = _confine(_socket.socket(fileno=channel))
    except BaseException as error:
        sys.stderr.write("no program: %r\n" % error)
        os._exit(1)
    _begin(orders["env"], room)


def _preload():
    from . import context, faults, imports, logs, loop, sink  # noqa: F401

    for name in MODULES:
        try:
            __import__(name)
        except ImportError:
            # An interpreter that was built without it.
            pass
    logs.prepare(sys.modules["logging"])


def _about():
    from .imports import FIRST

    libraries = set()
    with open("/proc/self/maps") as maps:
        for line in maps:
            path = line.split(None, 5)[5:]
            if path and ".so" in path[0]:
                libraries.add(os.path.basename(path[0].strip()))
    # Those that a function cannot replace in either way to start are nothing to look for.
    modules = {name.partition(".")[0] for name in sys.modules} - FIRST
    return json.dumps({"Ready": {"modules": sorted(modules), "libraries": sorted(libraries)}}).encode()


def _receive(channel, size):
    message, ancillary, _, _ = channel.recvmsg(size, _socket.CMSG_SPACE(MOST * 4), _socket.MSG_CMSG_CLOEXEC)
    return message, [number for item in ancillary for number in memoryview(item[2]).cast("i")]


def _fork(init, group, home):
    """Forks into the processes of a sandbox, and into `group`; true in the fork."""
    # struct clone_args: flags first, the signal at the end fifth, the cgroup eleventh.
    numbers = [CLONE_INTO_CGROUP if group else 0, 0, 0, 0, int(_signal.SIGCHLD), 0, 0, 0, 0, 0, group or 0]
    arguments = ctypes.create_string_buffer(struct.pack("11Q", *numbers), 88)
    _check(_libc.setns(init, NEW_PID))
    born = _syscall(CLONE3, ctypes.addressof(arguments), 88, 0, 0, 0, 0)
    errno = ctypes.get_errno()
    if born:
        _check(_libc.setns(home, NEW_PID))
    if born < 0:
        raise OSError(errno, os.strerror(errno))
    return born == 0


def _enter(init, groups):
    """Into the sandbox; then a second fork, which the sandbox's init adopts when the first ends."""
    _signal.signal(_signal.SIGCHLD, _signal.SIG_DFL)
    # A thread that moves itself: moving from outside, or as a process, takes milliseconds.
    for tasks in groups:
        os.write(tasks, b"0")
    _check(_libc.setns(init, NAMESPACES))
    os.setresgid(0, 0, 0)
    os.setresuid(0, 0, 0)
    if os.fork():
        os._exit(0)


def _confine(channel):
    channel.send(b'{"Born":{"pid":%d}}' % os.getpid())
    message, given = _receive(channel, LARGEST)
    if not message:
        os._exit(1)
    orders = codec.decode(message, "application/json")
    for place, call in enumerate(orders["calls"]):
        errno = _obey(call, given)
        if errno:
            channel.send(b'{"Refused":{"call":%d,"errno":%d}}' % (place, errno))
            os._exit(127)
    channel.send(b'"Confined"')
    channel.detach()
    for call in orders["farewell"]:
        if _obey(call, ()):
            os._exit(127)
    return orders


def _obey(call, given):
    """Makes a call of init's list; the errno, or 0."""
    values, kept = [], []
    for argument in call["arguments"]:
        ((kind, value),) = argument.items()
        if kind == "Descriptor":
            value = given[value]
        elif kind != "Number":
            value = ctypes.create_string_buffer(bytes.fromhex(value))
            kept.append(value)
            if kind == "Filter":
                # struct sock_fprog; create_string_buffer adds a NUL of its own.
                head = struct.pack("HP", (len(value) - 1) // 8, ctypes.addressof(value))
                value = ctypes.create_string_buffer(head)
                kept.append(value)
            value = ctypes.addressof(value)
        values.append(value)
    values += [0] * (6 - len(values))
    return ctypes.get_errno() if _syscall(call["number"], *values) < 0 else 0


def _begin(variables, room):
    """The state of an interpreter that has just started with these variables."""
    variables = {os.fsencode(name): os.fsencode(value) for name, value in variables}
    # What the kernel shows. Nobody points there any more; what is too much is not shown.
    block, left = b"", len(room) - 1
    for name, value in variables.items():
        one = name + b"=" + value + b"\0"
        if len(block) + len(one) <= left:
            block += one
    # Python's own, where the machine does not have the locale of LANG.
    coerced = os.environ.get("LC_CTYPE")
    if coerced:
        variables.setdefault(b"LC_CTYPE", os.fsencode(coerced))
    # Not by its methods: they touch far more memory, which is shared until it is touched.
    os.environ._data.clear()
    os.environ._data.update(variables)
    _libc.clearenv()
    for name, value in variables.items():
        os.putenv(name, value)
    ctypes.memmove(room.start, block.ljust(len(room), b"\0"), len(room))
    time.tzset()
    # The fork itself has seeded `random` anew. OpenSSL makes its generator when it is first asked for
    # a number, which no zygote does, and makes it anew in a process with another number.
    logging, threading = sys.modules["logging"], sys.modules["threading"]
    logging._startTime = time.time_ns() if isinstance(logging._startTime, int) else time.time()
    main = threading.main_thread()
    if hasattr(main, "_set_native_id"):
        main._set_native_id()
