"""Functions that take what they can, and paths that lead elsewhere (S5 to S9, S15)."""

import hashlib
import os
import time

import pytest
from harness import code, place
from harness.functions import call, deploy, fresh_name, run_inside
from harness.leftovers import wait_until

pytestmark = pytest.mark.skipif(
    place.isolation() != "namespaces", reason="isolation is not `namespaces` in this run"
)


def test_tmp_cannot_be_stretched(client, function):
    """S6: sparse files, files without a name and empty ones: /tmp ends at its size, the host's disk
    feels none of it."""
    name = function(code.PROBE, EphemeralStorage={"Size": 512}, MemorySize=256)
    before = os.statvfs("/").f_bavail * os.statvfs("/").f_frsize
    ends = run_inside(
        client, name, """
import errno, os
result = []
def full(way):
    try:
        way()
        result.append("no end")
    except OSError as error:
        result.append(errno.errorcode[error.errno])
def sparse():
    with open("/tmp/sparse", "wb") as file:
        file.truncate(1 << 40)
        for n in range(10_000):
            file.seek(n << 24)
            file.write(bytes(1 << 20))
            file.flush()
def nameless():
    with open("/tmp/nameless", "wb") as file:
        os.unlink("/tmp/nameless")
        for _ in range(1000):
            file.write(bytes(1 << 20))
            file.flush()
def empty():
    for n in range(10_000_000):
        os.close(os.open(f"/tmp/{n}", os.O_CREAT))
full(sparse)
os.unlink("/tmp/sparse")
full(nameless)
full(empty)
""",
    )  # fmt: skip
    assert ends == ["ENOSPC", "ENOSPC", "ENOSPC"]
    after = os.statvfs("/").f_bavail * os.statvfs("/").f_frsize
    assert before - after < 512 << 20


def test_descriptors_of_every_kind_have_an_end(probe):
    """S7: files, sockets, timers, events and watches share the 1024 descriptors of a process."""
    counted = probe(
        """
import ctypes, errno, os, select, socket
libc = ctypes.CDLL(None, use_errno=True)
kinds = {
    "file": lambda: os.open("/dev/null", 0),
    "socket": lambda: socket.socket().detach(),
    "timer": lambda: libc.timerfd_create(1, 0),
    "event": lambda: libc.eventfd(0, 0),
    "inotify": lambda: libc.inotify_init1(0),
    "epoll": lambda: libc.epoll_create1(0),
    "memory": lambda: libc.memfd_create(b"m", 0),
    "pipe": lambda: os.pipe()[0],
}
result = {}
for kind, make in kinds.items():
    held, why = [], None
    while len(held) < 100_000 and why is None:
        try:
            fd = make()
            why = ctypes.get_errno() if fd < 0 else None
        except OSError as error:
            fd, why = -1, error.errno
        if fd >= 0:
            held.append(fd)
    result[kind] = [len(held), errno.errorcode.get(why)]
    for fd in range(3, 1024):
        try:
            os.readlink(f"/proc/self/fd/{fd}")
        except OSError:
            continue
        if fd in held or kind == "pipe" and fd > held[0]:
            try:
                os.close(fd)
            except OSError:
                pass
"""
    )
    for kind, (count, why) in counted.items():
        # Where a user has fewer of a kind, EMFILE too, or ENOMEM.
        assert count <= 1024 and why in ("EMFILE", "ENOMEM", "ENFILE"), (kind, count, why)


def test_shared_memory_is_charged_and_goes(client, function):
    """S7: System V segments count as memory, and end with the environment."""
    name = function(code.PROBE, MemorySize=256)
    grab = """
import ctypes
libc = ctypes.CDLL(None)
libc.shmat.restype = ctypes.c_void_p
for n in range(1, 64):
    segment = libc.shmget(n, 16 << 20, 0o1666)
    at = libc.shmat(segment, None, 0)
    ctypes.memset(at, 1, 16 << 20)
"""
    got, answer = call(client, name, {"python": grab})
    assert answer["FunctionError"] == "Unhandled"
    assert got["errorMessage"].endswith("signal: killed"), got
    left = run_inside(client, name, "result = open('/proc/sysvipc/shm').read().count(chr(10)) - 1")
    assert left == 0


@pytest.mark.parametrize(
    "handler",
    ["/proc/self/fd/7.handler", "/proc/1/cwd/app.handler", "../../proc/self/exe.handler"],
)
def test_handlers_that_lead_elsewhere(client, server, handler):
    """S9: a handler's path cannot leave the code, and the server's own program stays as it is."""
    before = hashlib.sha256(place.binary().read_bytes()).hexdigest()
    running = hashlib.sha256(open(f"/proc/{server.pid}/exe", "rb").read()).hexdigest()
    name = deploy(client, code.PROBE, FunctionName=fresh_name(), Handler=handler)
    got, answer = call(client, name)
    assert answer["FunctionError"] == "Unhandled"
    assert got["errorType"].startswith(("Runtime.", "TypeError")), got
    client.delete_function(FunctionName=name)
    assert hashlib.sha256(place.binary().read_bytes()).hexdigest() == before
    assert hashlib.sha256(open(f"/proc/{server.pid}/exe", "rb").read()).hexdigest() == running


def test_the_program_itself_cannot_be_overwritten(client, function, server):
    """S9: what a function sees as its parents' program is not the server's, and cannot be written."""
    before = hashlib.sha256(open(f"/proc/{server.pid}/exe", "rb").read()).hexdigest()
    tried = run_inside(
        client, function(code.PROBE), """
import errno, os
result = []
for path in ("/proc/self/exe", "/proc/1/exe", f"/proc/{os.getppid()}/exe"):
    for flags in (os.O_WRONLY, os.O_RDWR, os.O_WRONLY | os.O_TRUNC):
        try:
            os.close(os.open(path, flags))
            result.append(path)
        except OSError:
            pass
""",
    )  # fmt: skip
    assert tried == []
    assert hashlib.sha256(open(f"/proc/{server.pid}/exe", "rb").read()).hexdigest() == before


def test_an_environment_that_crashes_while_it_starts_does_not_spin(client, function, logs):
    """S15: each call starts it twice at the most, and nothing starts it between the calls. After four
    failures in a row it is started once a second at most."""
    name = function("import os\nprint('starting')\nos._exit(1)\n")
    calls = 5
    for _ in range(calls):
        assert call(client, name)[1]["FunctionError"] == "Unhandled"
    found = logs.filter_log_events(logGroupName=f"/aws/lambda/{name}", filterPattern="starting")
    assert 4 <= len(found["events"]) <= 2 * calls


def test_kept_environments_that_crash_are_given_up(own_server):
    """S15: an environment to be kept ready that never gets ready is not started again and again."""
    server = own_server()
    client, logs = server.client(), server.client("logs")
    name = deploy(client, "import os\nprint('starting')\nos._exit(1)\n")
    version = client.publish_version(FunctionName=name)["Version"]
    client.put_provisioned_concurrency_config(
        FunctionName=name, Qualifier=version, ProvisionedConcurrentExecutions=2
    )

    def starts():
        try:
            found = logs.filter_log_events(
                logGroupName=f"/aws/lambda/{name}", filterPattern="starting"
            )
        except logs.exceptions.ResourceNotFoundException:
            return 0
        return len(found["events"])

    def failed():
        got = client.get_provisioned_concurrency_config(FunctionName=name, Qualifier=version)
        return got["Status"] == "FAILED"

    wait_until(failed, "the end of the attempts", 60)
    began, before = time.monotonic(), starts()
    time.sleep(3)  # How often it starts is the question.
    assert starts() - before <= 1 + 2 * (time.monotonic() - began)
