"""A disk as it may be found after the power was lost.

Files and directories are kept twice: as programs see them, and as they are on the disk for certain.
Between the two is what nobody has synced. Of that, anything may be there after a loss of power: of a
file each sector of 512 bytes as it was after any of the writes to it, and any length that the file
has had; of names any, whatever their order. That is what POSIX promises, and less than most file
systems keep. A rename is there in both of its directories or in none.
"""

import random

SECTOR = 512
# What becomes of what was not synced.
KINDS = ("mixed", "lost", "kept", "names", "data")


class File:
    def __init__(self, content=b""):
        self.live, self.durable = bytearray(content), bytearray(content)
        # (offset, bytes), or (None, length) for a change of length; `changes` counts all ever made.
        self.pending, self.changes = [], 0

    def write(self, offset, data):
        _write(self.live, offset, data)
        self.pending.append((offset, data))
        self.changes += 1

    def truncate(self, length):
        _truncate(self.live, length)
        self.pending.append((None, length))
        self.changes += 1

    def sync(self, upto):
        """Everything is on the disk that had been written when there were `upto` changes."""
        done = max(0, len(self.pending) - (self.changes - upto))
        for change in self.pending[:done]:
            _apply(self.durable, change)
        del self.pending[:done]

    def after(self, kind, dice):
        if kind in ("lost", "names") or not self.pending:
            return bytes(self.durable)
        if kind in ("kept", "data"):
            return bytes(self.live)
        return bytes(self._torn(dice))

    def _torn(self, dice):
        content = bytearray(self.durable)
        touching = {}
        for index, (offset, data) in enumerate(self.pending):
            if offset is not None:
                for sector in range(offset // SECTOR, (offset + len(data) - 1) // SECTOR + 1):
                    touching.setdefault(sector, []).append(index)
        # The disk was at work on some of it when the power went: before that much is likely to be
        # there, after that little is.
        whole = dice.randrange(len(self.pending) + 1)
        for sector, changes in touching.items():
            reached = [index for index in changes if index < whole]
            last = dice.choice([*changes, -1]) if dice.random() < 0.3 else (reached or [-1])[-1]
            for index in changes:
                if index <= last:
                    _write_sector(content, sector, *self.pending[index])
        if any(offset is None for offset, _ in self.pending) or len(content) != len(self.live):
            _truncate(content, dice.choice([*self._lengths(), len(content)]))
        return content

    def _lengths(self):
        length = len(self.durable)
        yield length
        for offset, what in self.pending:
            length = what if offset is None else max(length, offset + len(what))
            yield length


class Directory:
    def __init__(self):
        self.live, self.durable = {}, {}


class Link:
    def __init__(self, target):
        self.target = target


class Disk:
    """Paths are tuples of names below the root, which is there for certain."""

    def __init__(self):
        self.root = Directory()
        # (number, [(directory, name, what is there then)]), the names that nobody has synced.
        self.pending, self.changes = [], 0

    def find(self, path):
        node = self.root
        for name in path:
            node = node.live.get(name) if isinstance(node, Directory) else None
        return node

    def name(self, *changes):
        """Names come and go, all at once: (path, node or None)."""
        done = []
        for path, node in changes:
            directory = self.find(path[:-1])
            if node is None:
                directory.live.pop(path[-1], None)
            else:
                directory.live[path[-1]] = node
            done.append((directory, path[-1], node))
        self.changes += 1
        self.pending.append((self.changes, done))

    def sync_names(self, directory, upto):
        """The names in a directory, and whatever happened before to the same names."""
        kept, wanted = [], set()
        for number, changes in reversed(self.pending):
            here = any(where is directory for where, _, _ in changes) and number <= upto
            if here or any((id(where), name) in wanted for where, name, _ in changes):
                wanted |= {(id(where), name) for where, name, _ in changes}
                kept.append((number, changes))
        self.pending = [change for change in self.pending if change not in kept]
        for _, changes in reversed(kept):
            for where, name, node in changes:
                _name(where.durable, name, node)

    def settle(self):
        """Everything is on the disk."""
        for _, changes in self.pending:
            for where, name, node in changes:
                _name(where.durable, name, node)
        self.pending.clear()
        for _, node in walk(self.root, lambda directory: directory.live):
            if isinstance(node, File):
                node.sync(node.changes)


class Crash:
    """What one loss of power leaves, from a kind and a seed."""

    def __init__(self, disk, kind, seed):
        self.disk, self.kind, self.dice = disk, kind, random.Random(seed)
        self._contents = {}
        self._names = {}
        for _, changes in disk.pending:
            if kind in ("kept", "names") or (kind == "mixed" and self.dice.random() < 0.5):
                for where, name, node in changes:
                    _name(self._names.setdefault(id(where), dict(where.durable)), name, node)

    def names(self, directory):
        return self._names.get(id(directory), directory.durable)

    def content(self, path):
        """The bytes of a file; None where there is none."""
        node = self.disk.root
        for name in path:
            node = self.names(node).get(name) if isinstance(node, Directory) else None
        return self._content(node) if isinstance(node, File) else None

    def _content(self, file):
        if id(file) not in self._contents:
            self._contents[id(file)] = file.after(self.kind, self.dice)
        return self._contents[id(file)]

    def put(self, place):
        """Makes all of it below a real directory."""
        for path, node in walk(self.disk.root, self.names):
            real = place.joinpath(*path)
            if isinstance(node, Directory):
                real.mkdir(mode=0o700)
            elif isinstance(node, Link):
                real.symlink_to(node.target)
            else:
                real.write_bytes(self._content(node))


def taken(place):
    """A disk that has what is in a real directory, all of it for certain."""
    disk = Disk()
    for real in sorted(place.rglob("*")):
        path = real.relative_to(place).parts
        if real.is_symlink():
            disk.name((path, Link(str(real.readlink()))))
        elif real.is_dir():
            disk.name((path, Directory()))
        elif real.is_file():
            disk.name((path, File(real.read_bytes())))
    disk.settle()
    return disk


def walk(directory, names, path=()):
    for name, node in names(directory).items():
        yield (*path, name), node
        if isinstance(node, Directory):
            yield from walk(node, names, (*path, name))


def _name(names, name, node):
    if node is None:
        names.pop(name, None)
    else:
        names[name] = node


def _apply(content, change):
    offset, what = change
    if offset is None:
        _truncate(content, what)
    else:
        _write(content, offset, what)


def _write(content, offset, data):
    if offset > len(content):
        content.extend(bytes(offset - len(content)))
    content[offset : offset + len(data)] = data


def _write_sector(content, sector, offset, data):
    begin, end = max(offset, sector * SECTOR), min(offset + len(data), (sector + 1) * SECTOR)
    _write(content, begin, data[begin - offset : end - offset])


def _truncate(content, length):
    if length < len(content):
        del content[length:]
    else:
        content.extend(bytes(length - len(content)))
