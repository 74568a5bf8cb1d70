"""A server under strace, and what it did to a directory: every change, sync and answer in order.

strace sees the calls from outside, with all bytes, so what is recorded is what any server does and
not what a build for tests does.
"""

import pathlib
import re
import shutil

from disk import Directory, Disk, File, Link, walk
from harness.leftovers import wait_until
from harness.server import Server

CALLS = (
    "openat,open,creat,close,dup,dup2,dup3,fcntl,lseek,write,pwrite64,writev,pwritev,pwritev2,"
    "ftruncate,truncate,fallocate,copy_file_range,sendfile,splice,rename,renameat,renameat2,unlink,"
    "unlinkat,rmdir,mkdir,mkdirat,link,linkat,symlink,symlinkat,fsync,fdatasync,sync_file_range,"
    "syncfs,sync,sendto,sendmsg,clone,clone3,fork,vfork"
)
# Of no use after a loss of power: the index of SQLite's log is made again, and the rest is about
# processes that are gone.
PASSING = ("state.db-shm", "lock", "run")
ANSWER = re.compile(rb"\r\nx-amzn-requestid: ([0-9a-f-]+)\r\n", re.IGNORECASE)
CALL = re.compile(r"(\w+)\((.*)\) += (-?\d+)(?:<([^>]*)>)?", re.DOTALL)
WORD = re.compile(r'"((?:\\x[0-9a-f]{2})*)"(\.\.\.)?')
NAMED = re.compile(r"(-?\d+|AT_FDCWD)<([^>]*)>")


class RecordedServer(Server):
    def command(self):
        self.calls = self.home / "calls"
        return [
            "strace", "-D", "-f", "--seccomp-bpf", "-y", "-xx", "-s", str(1 << 26), "-e", "signal=none",
            "-e", f"trace={CALLS}", "-o", str(self.calls), *super().command(),
        ]  # fmt: skip

    def recorded(self):
        """What a killed server has done below its data directory's parent."""
        wait_until(lambda: not self._traced(), "the end of the recording", 60)
        return list(steps(self.calls, self.home))

    def _traced(self):
        """Whether a tracer still writes to the file."""
        for process in pathlib.Path("/proc").glob("[0-9]*"):
            try:
                if (process / "comm").read_text() == "strace\n" and any(
                    link.readlink() == self.calls for link in (process / "fd").iterdir()
                ):
                    return True
            except OSError:
                pass
        return False


def possible():
    """None, or why nothing can be recorded here."""
    return None if shutil.which("strace") else "there is no strace"


def steps(calls, home):
    """The file's calls as steps for [`Replay`], those of other directories left out."""
    open_calls, numbers, groups = {}, {}, {}
    for line in open(calls, encoding="ascii"):
        pid, _, rest = line.rstrip("\n").partition(" ")
        rest = rest.lstrip()
        if rest.endswith("<unfinished ...>"):
            begun = rest.removesuffix("<unfinished ...>")
            open_calls[pid] = begun
            yield from _begun(begun, pid, home)
            continue
        if rest.startswith("<... "):
            rest = open_calls.pop(pid) + rest.partition(" resumed>")[2]
        else:
            yield from _begun(rest, pid, home)
        found = CALL.match(rest)
        if found is None or found[3] == "-1":
            continue
        yield from _done(_Call(found, pid), (numbers, groups), home)


class _Call:
    def __init__(self, found, pid):
        self.name, self.arguments, self.pid = found[1], found[2].rstrip(), pid
        self.result, self.made = int(found[3]), _text(found[4] or "")

    def words(self):
        found = WORD.findall(self.arguments)
        assert not any(cut for _, cut in found), "a call was not recorded whole"
        return [bytes.fromhex(word.replace("\\x", "")) for word, _ in found]

    def paths(self):
        """Of a call on names: absolute, each with the directory that it is said from."""
        told = re.findall(r'(?:<([^>]*)>, )?"((?:\\x[0-9a-f]{2})*)"', self.arguments)
        return [pathlib.PurePath(_text(base) or "/") / _text(f'{name}') for base, name in told]

    def descriptor(self):
        found = NAMED.match(self.arguments)
        return (found[1], _text(found[2])) if found else ("", "")

    def numbers(self):
        return [int(word) for word in re.findall(r"(?<=, )-?\d+(?=,|$)", self.arguments)]


def _text(hexed):
    return bytes.fromhex(hexed.replace("\\x", "")).decode() if "\\x" in hexed else hexed


def _below(home, path):
    """A path as names below `home`; None elsewhere, and where nothing is kept."""
    text = str(path).removesuffix(" (deleted)")
    names = pathlib.PurePath(text).parts
    top = home.parts
    if names[: len(top)] != top:
        return None
    rest = names[len(top) :]
    if not rest:
        return rest
    if rest[0] != "data" or rest[1:2] and rest[1] in PASSING or str(path).endswith(" (deleted)"):
        return None
    return rest


def _begun(text, pid, home):
    """What counts from the moment that a call is made."""
    name = text.partition("(")[0]
    if name in ("fsync", "fdatasync", "syncfs", "sync"):
        found = NAMED.search(text)
        path = _below(home, _text(found[2])) if found else ()
        if path is not None:
            yield ("begin sync", pid, path)
    elif name in ("write", "sendto", "writev", "sendmsg") and "\\x48\\x54\\x54\\x50\\x2f\\x31" in text[:400]:
        for word, _ in WORD.findall(text):
            for request_id in ANSWER.findall(bytes.fromhex(word.replace("\\x", ""))):
                yield ("answer", request_id.decode())


def _done(call, known, home):
    positions, groups = known
    name, group = call.name, groups.get(call.pid, call.pid)
    if name in ("clone", "clone3", "fork", "vfork"):
        if "CLONE_THREAD" in call.arguments:
            groups[str(call.result)] = group
    elif name in ("openat", "open", "creat"):
        path = _below(home, call.made)
        if path is not None:
            positions[group, str(call.result)] = None if "O_APPEND" in call.arguments else 0
            if "O_CREAT" in call.arguments or name == "creat":
                yield ("create", path)
            if "O_TRUNC" in call.arguments or name == "creat":
                yield ("truncate", path, 0)
    elif name in ("fsync", "fdatasync", "syncfs", "sync"):
        yield ("end sync", call.pid, name)
    elif name in ("rename", "renameat", "renameat2", "link", "linkat"):
        assert "EXCHANGE" not in call.arguments
        old, new = (_below(home, path) for path in call.paths())
        if old is not None or new is not None:
            yield ("link" if "link" in name else "rename", old, new)
    elif name in ("symlink", "symlinkat"):
        path = _below(home, call.paths()[-1])
        if path is not None:
            yield ("symlink", path, call.words()[0].decode())
    elif name in ("mkdir", "mkdirat", "unlink", "unlinkat", "rmdir"):
        path = _below(home, call.paths()[0])
        if path is not None:
            yield ("mkdir" if "mkdir" in name else "unlink", path)
    else:
        yield from _written(call, positions, group, home)


def _written(call, positions, group, home):
    """Calls on a descriptor."""
    number, where = call.descriptor()
    path = _below(home, where) if where.startswith("/") else None
    if path is None:
        return
    name, place = call.name, (group, number)
    if name == "lseek":
        positions[place] = call.result
    elif name in ("write", "writev"):
        data = b"".join(call.words())[: call.result]
        at = positions.get(place, 0)
        yield ("write", path, at, data)
        if at is not None:
            positions[place] = at + len(data)
    elif name in ("pwrite64", "pwritev", "pwritev2"):
        yield ("write", path, call.numbers()[-1], b"".join(call.words())[: call.result])
    elif name in ("ftruncate", "truncate"):
        yield ("truncate", path, call.numbers()[-1])
    elif name not in ("close", "dup", "dup2", "dup3", "fcntl"):
        # A sync of a part promises nothing.
        assert name == "sync_file_range", f"{name} is not known to the recording: {call.arguments[:200]}"


class Replay:
    """Takes steps on a [`Disk`], and says which answers were given."""

    def __init__(self, disk=None):
        self.disk = disk or Disk()
        self.syncs = {}
        if self.disk.find(("data",)) is None:
            self.disk.settle()

    def take(self, step):
        what, *rest = step
        getattr(self, "_" + what.replace(" ", "_"))(*rest)

    def _answer(self, _):
        pass

    def _create(self, path):
        if self.disk.find(path) is None:
            self.disk.name((path, File()))

    def _mkdir(self, path):
        self.disk.name((path, Directory()))

    def _symlink(self, path, target):
        self.disk.name((path, Link(target)))

    def _unlink(self, path):
        self.disk.name((path, None))

    def _rename(self, old, new):
        node = self.disk.find(old)
        self.disk.name((old, None), (new, node))

    def _link(self, old, new):
        self.disk.name((new, self.disk.find(old)))

    def _truncate(self, path, length):
        file = self.disk.find(path)
        if len(file.live) != length:
            file.truncate(length)

    def _write(self, path, offset, data):
        file = self.disk.find(path)
        if data:
            file.write(len(file.live) if offset is None else offset, data)

    def _begin_sync(self, pid, path):
        node = self.disk.find(path)
        self.syncs[pid] = (node, node.changes if isinstance(node, File) else self.disk.changes)

    def _end_sync(self, pid, call):
        node, upto = self.syncs.pop(pid, (None, 0))
        if call in ("sync", "syncfs"):
            self.disk.settle()
        elif isinstance(node, File):
            node.sync(upto)
        elif node is not None:
            self.disk.sync_names(node, upto)

    def differences(self, home):
        """Where the disk is not what is there: the recording is no good then."""
        wrong = []
        seen = {path: node for path, node in walk(self.disk.root, lambda directory: directory.live)}
        for real in (home / "data").rglob("*"):
            path = _below(home, real)
            if path is None:
                continue
            node = seen.pop(path, None)
            if real.is_symlink():
                same = isinstance(node, Link) and node.target == str(real.readlink())
            elif real.is_dir():
                same = isinstance(node, Directory)
            else:
                same = not real.is_file() or isinstance(node, File) and node.live == real.read_bytes()
            if not same:
                wrong.append("/".join(path))
        seen.pop(("data",), None)
        return wrong + ["/".join(path) for path in seen]
