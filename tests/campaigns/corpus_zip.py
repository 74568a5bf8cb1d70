"""Malformed archives, each kind by its name, beside those of C9 itself: records that contradict each
other, and streams that do not end.

`of_zip()` reads the archives in the tests of the library itself, from wherever cargo keeps its
source; it is empty where that is not.
"""

import re
import stat
import struct
import zlib

from corpus_http import sources

LOCAL, DIRECTORY, END, END64, LOCATOR = (
    b"PK\x03\x04", b"PK\x01\x02", b"PK\x05\x06", b"PK\x06\x06", b"PK\x06\x07",
)  # fmt: skip
ALL = 0xFFFFFFFF


class File:
    """One entry; what its two records say may differ from what it is."""

    def __init__(self, name, content=b"x", **lies):
        self.name, self.content, self.lies = name, content, lies

    def fields(self, which):
        lies = {**self.lies, **self.lies.get(which, {})}
        name = lies.get("name", self.name)
        extra = lies.get("extra", b"")
        return {
            "version": 45, "flags": 0, "method": 0, "crc": zlib.crc32(self.content),
            "packed": len(self.content), "size": len(self.content), "mode": 0o100644, **lies,
            "name": name, "extra": extra, "names": lies.get("names", len(name)),
            "extras": lies.get("extras", len(extra)),
        }  # fmt: skip

    def local(self):
        f = self.fields("local")
        head = struct.pack("<HHHHHIIIHH", f["version"], f["flags"], f["method"], 0, 0x5C21, f["crc"],
                           f["packed"], f["size"], f["names"], f["extras"])  # fmt: skip
        return LOCAL + head + f["name"] + f["extra"] + self.content + self.lies.get("descriptor", b"")

    def record(self, offset):
        f = self.fields("directory")
        head = struct.pack(
            "<HHHHHHIIIHHHHHII", 0x32D, f["version"], f["flags"], f["method"], 0, 0x5C21, f["crc"],
            f["packed"], f["size"], f["names"], f["extras"], f.get("comments", 0), f.get("disk", 0), 0,
            f["mode"] << 16, f.get("offset", offset),
        )  # fmt: skip
        return DIRECTORY + head + f["name"] + f["extra"]


def end(count, size, offset, comment=b"", disk=0):
    return END + struct.pack("<HHHHIIH", disk, disk, count, count, size, offset, len(comment)) + comment


def archive(*files, ending=None, between=b""):
    """`ending(count, size, offset)` gives what follows the directory."""
    data, records = b"", b""
    for file in files:
        records += file.record(len(data))
        data += file.local()
    data += between
    return data + records + (ending or end)(len(files), len(records), len(data))


def end64(count, size, offset, at=None, locator=True, length=44):
    """The records of zip64, and the old one that points at them."""
    record = END64 + struct.pack("<QHHIIQQQQ", length, 45, 45, 0, 0, count, count, size, offset)
    place = LOCATOR + struct.pack("<IQI", 0, offset + size if at is None else at, 1)
    return record + (place if locator else b"") + end(0xFFFF, ALL, ALL)


def zip64(size, packed, *more):
    """The field that says sizes of 64 bits."""
    body = struct.pack(f"<{2 + len(more)}Q", size, packed, *more)
    return struct.pack("<HH", 1, len(body)) + body


def descriptor(content, mark=b"PK\x07\x08", size=None):
    size = len(content) if size is None else size
    return mark + struct.pack("<III", zlib.crc32(content), size, size)


def sizes_and_places():
    late = {"flags": 8, "local": {"crc": 0, "packed": 0, "size": 0}}
    big = {"packed": ALL, "size": ALL}
    half = {"ending": lambda n, size, offset: end(n, size // 2, offset)}
    two = [File(b"a"), File(b"b")]
    shared = File(b"b", offset=0)
    stored = File(b"inner", b"y" * 10).local()
    return {
        "zip64, honest": archive(File(b"a"), ending=end64),
        "zip64, sizes in the field": archive(File(b"a", extra=zip64(1, 1), **big)),
        "zip64, sizes of 2^63": archive(File(b"a", extra=zip64(1 << 63, 1 << 63), **big)),
        "zip64, offset of 2^64 - 1": archive(File(b"a", extra=zip64(1, 1, (1 << 64) - 1), offset=ALL, **big)),
        "zip64, field cut off": archive(File(b"a", extra=b"\1\0\x10\0\1\0", **big)),
        "zip64, field twice": archive(File(b"a", extra=zip64(1, 1) + zip64(9, 9), **big)),
        "zip64, field that is not there": archive(File(b"a", **big)),
        "zip64, no locator": archive(File(b"a"), ending=lambda *a: end64(*a, locator=False)),
        "zip64, locator to nowhere": archive(File(b"a"), ending=lambda *a: end64(*a, at=(1 << 64) - 60)),
        "zip64, locator to itself": archive(File(b"a"), ending=lambda n, s, o: end64(n, s, o, at=o + s + 56)),
        "zip64, 2^64 entries": archive(File(b"a"), ending=lambda n, s, o: end64((1 << 64) - 1, s, o)),
        "zip64, 2^40 entries": archive(File(b"a"), ending=lambda n, s, o: end64(1 << 40, s, o)),
        "zip64, directory of 2^63": archive(File(b"a"), ending=lambda n, s, o: end64(n, 1 << 63, o)),
        "zip64, record of 2^64": archive(File(b"a"), ending=lambda *a: end64(*a, length=(1 << 64) - 1)),
        "descriptor": archive(File(b"a", **late, descriptor=descriptor(b"x"))),
        "descriptor without its mark": archive(File(b"a", **late, descriptor=descriptor(b"x", b""))),
        "descriptor that lies": archive(File(b"a", **late, descriptor=descriptor(b"x", size=99))),
        "descriptor that is not there": archive(File(b"a", **late)),
        "descriptor, sizes nowhere": archive(File(b"a", flags=8, packed=0, size=0, crc=0)),
        "entries that share their bytes": archive(File(b"a", b"x" * 100), shared),
        "entry within another's bytes": archive(File(b"a", stored), File(b"inner", b"y" * 10, offset=31)),
        "entry that contains the next": archive(File(b"a", b"x", packed=10_000, size=10_000), File(b"b", b"z" * 9_000)),
        "entry over the directory": archive(File(b"a", packed=60, size=60)),
        "offset past the directory": archive(File(b"a", offset=40)),
        "offset of all bits": archive(File(b"a", offset=ALL)),
        "offset into a name": archive(File(b"PK\x03\x04" + b"n" * 40, offset=30)),
        "two directories": archive(*two) + archive(File(b"c")),
        "two ends": archive(File(b"a")) + end(0, 0, 0),
        "end within a comment": archive(File(b"a"), ending=lambda *a: end(*a, comment=end(0, 0, 0) + b"!")),
        "directory half as long": archive(*two, **half),
        "directory twice as long": archive(*two, ending=lambda n, s, o: end(n, 2 * s, o)),
        "one entry too many": archive(*two, ending=lambda n, s, o: end(n + 1, s, o)),
        "one entry too few": archive(*two, ending=lambda n, s, o: end(n - 1, s, o)),
        "second of two disks": archive(File(b"a"), ending=lambda *a: end(*a, disk=1)),
        "entry on another disk": archive(File(b"a", disk=7)),
        "hole before the directory": archive(File(b"a"), between=bytes(5000)),
    }  # fmt: skip


def names():
    link = {"mode": stat.S_IFLNK | 0o777}
    chain = [File(b"l%d" % n, b"l%d" % (n + 1), **link) for n in range(60)]
    other = {"local": {"name": b"../../evil"}}
    unicode = b"up" + struct.pack("<HBI", 5 + 10, 1, zlib.crc32(b"a")) + b"../../evil"
    return {
        "another name before the bytes": archive(File(b"a", **other)),
        "another name in a field": archive(File(b"a", extra=unicode)),
        "name longer than its record": archive(File(b"a", directory={"names": 60_000})),
        "field longer than its record": archive(File(b"a", directory={"extras": 60_000})),
        "comment longer than its record": archive(File(b"a", comments=60_000)),
        "fields of no length": archive(File(b"a", extra=b"\0\0\0\0" * 1000)),
        "field that says too much": archive(File(b"a", extra=b"\x0a\0\xff\xff")),
        "marked as UTF-8, and is not": archive(File(b"\xff\xfe\xfd", flags=0x800)),
        "of another alphabet": archive(File(b"\x80\x81\x82")),
        "part of 300 bytes": archive(File(b"n" * 300)),
        "slashes alone": archive(File(b"////")), "ends in blanks": archive(File(b"a  "), File(b"a")),
        "dot in the middle": archive(File(b"a/./b"), File(b"a/b")), "two slashes": archive(File(b"a//b"), File(b"a/b")),
        "bytes of control": archive(File(b"a\x1b[2J\r\n\x08")), "tilde": archive(File(b"~/a")),
        "proc": archive(File(b"l", b"/proc/self/root/tmp", **link), File(b"l/evil")),
        "link to itself": archive(File(b"l", b"l", **link)), "chain of links": archive(*chain, File(b"l59/evil")),
        "link without a target": archive(File(b"l", b"", **link)), "NUL in a target": archive(File(b"l", b"a\0/../..", **link)),
        "link that is packed": archive(File(b"l", zlib.compress(b"../../evil")[2:-4], method=8, size=10,
                                            crc=zlib.crc32(b"../../evil"), **link)),
        "link, then a directory of its name": archive(File(b"l", b"/tmp", **link), File(b"l/", b"")),
        "directory, then a link of its name": archive(File(b"d/", b""), File(b"d/a"), File(b"d", b"/tmp", **link)),
        "two links that meet": archive(File(b"a", b"b/..", **link), File(b"b", b"a/..", **link), File(b"a/evil")),
        "link, three up from two down": archive(File(b"a/b/l", b"../../..", **link), File(b"a/b/l/evil")),
    }  # fmt: skip


def streams():
    def deflated(data, size=1000):
        return archive(File(b"a", data, method=8, size=size))

    good = zlib.compress(bytes(1000))[2:-4]
    return {
        "block of the third kind": deflated(b"\x07"), "stored block that lies": deflated(b"\x01\x05\x00\x00\x00hello"),
        "distance before the start": deflated(bytes.fromhex("4b04 02 00".replace(" ", ""))),
        "no end": deflated(good[:-2]), "more behind the end": deflated(good + b"x" * 100),
        "empty blocks for ever": deflated(b"\x00\x00\x00\xff\xff" * 50_000), "codes of no tree": deflated(b"\x05\xc0\x81\x08\0\0\0"),
        "grows beyond what it says": deflated(zlib.compress(bytes(10_000_000))[2:-4], 10),
        "stored, of two sizes": archive(File(b"a", b"x" * 10, size=99)),
        "stored, smaller than it says": archive(File(b"a", b"x" * 10, packed=4, size=10)),
        **{f"method {method}": archive(File(b"a", method=method)) for method in (1, 6, 9, 12, 14, 93, 95, 97, 98)},
        "encrypted, strongly": archive(File(b"a", flags=0x41)), "directory encrypted": archive(File(b"a", flags=0x2000)),
        "patched": archive(File(b"a", flags=0x20)), "version of the future": archive(File(b"a", version=0xFFFF)),
    }  # fmt: skip


def cases():
    return sizes_and_places() | names() | streams()


NUMBERS = re.compile(rb"\[\s*((?:(?:0x[0-9a-fA-F]{1,2}|\d{1,3}),\s*){20,}(?:0x[0-9a-fA-F]{1,2}|\d{1,3})?)\s*\]")


def of_zip():
    found = {}
    for path in sources("zip"):
        for numbers in NUMBERS.findall(path.read_bytes().replace(b"u8,", b",")):
            values = [int(number, 0) for number in numbers.replace(b"\n", b"").decode().split(",") if number.strip()]
            if max(values) < 256 and b"PK" in bytes(values):
                found[f"zip: {path.name} {len(found)}"] = bytes(values)
    return found
