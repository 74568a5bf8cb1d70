"""C9: packages made by somebody who means harm.

They are made by hand, taken from a corpus of contradictions, and mutated with a seed. Each is
uploaded as a function's code. It is taken or refused with a 4xx within its time, no byte is written
outside of its own directory, and the server goes on.

Cases: D1, D2.
"""

import base64
import io
import os
import stat
import struct
import time
import zipfile

import corpus_zip
import observer
from campaign import ECHO, Campaign, GoodClient, aws, deploy, fresh_name, percentile

CANARY = "lamplight-campaign-escaped"
OUT = f"{CANARY}-file"


def entry(name, content=b"x", mode=0o100644, kind=zipfile.ZIP_DEFLATED):
    info = zipfile.ZipInfo(name, (2026, 1, 1, 0, 0, 0))
    info.external_attr = mode << 16
    info.create_system = 3
    info.compress_type = kind
    return info, content


def archive(*entries, comment=b""):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as made:
        for info, content in entries:
            made.writestr(info, content)
        made.comment = comment
    return buffer.getvalue()


def renamed(name, real):
    """An archive whose one entry has a name that Python would not write."""
    place = "n" * len(real)
    return archive(entry(place)).replace(place.encode(), real)


def patched(data, offset, value, form="<I", signature=b"PK\x01\x02"):
    """`data` with a field of its first record changed: of the directory, or of the local header."""
    at = data.index(signature) + offset
    return data[:at] + struct.pack(form, value) + data[at + struct.calcsize(form) :]


def overlapping(count):
    """A bomb as David Fifield makes them: every entry is the same bytes."""
    kernel = archive(entry("a", bytes(1 << 20)))
    at = kernel.index(b"PK\x01\x02")
    local, record, end = kernel[:at], kernel[at:-22], kernel[-22:]
    records = record * count
    head = struct.pack("<IHHHHIIH", 0x06054B50, 0, 0, count, count, len(records), len(local), 0)
    assert end[:4] == b"PK\x05\x06"
    return local + records + head


def by_hand():
    """{name: archive}: forty or so, each of which has fooled an unpacker."""
    good = archive(entry("app.py", ECHO.encode()))
    link = stat.S_IFLNK | 0o777
    made = {
        "good": good,
        "dot dot": archive(entry(f"../{OUT}")),
        "dot dot, deep": archive(entry(f"a/b/../../../../../../tmp/{OUT}")),
        "dot dot behind a directory": archive(entry("a/"), entry(f"a/../../{OUT}")),
        "absolute": archive(entry(f"/tmp/{OUT}")),
        "absolute, twice": archive(entry(f"//tmp/{OUT}")),
        "backslash": renamed("", f"..\\{OUT}".encode()),
        "drive": archive(entry(f"C:/{OUT}")),
        "NUL in the name": renamed("", b"a\0../" + OUT.encode()),
        "empty name": renamed("", b""),
        "dot": archive(entry(".")),
        "dots": archive(entry("...")),
        "link out": archive(entry("l", b"/tmp", link)),
        "link up": archive(entry("l", b"../..", link)),
        "link, then through it": archive(entry("l", b"/tmp", link), entry(f"l/{OUT}")),
        "link, then over it": archive(entry("l", f"/tmp/{OUT}".encode(), link), entry("l")),
        "link to a link out": archive(entry("a", b"b", link), entry("b", b"/tmp", link)),
        "links in a circle": archive(entry("a", b"b", link), entry("b", b"a", link)),
        "link named as a directory": archive(entry("l/", b"/tmp", link)),
        "link with a long target": archive(entry("l", b"a/" * 40_000, link)),
        "device": archive(entry("d", b"", stat.S_IFCHR | 0o666)),
        "block device": archive(entry("d", b"", stat.S_IFBLK | 0o666)),
        "pipe": archive(entry("p", b"", stat.S_IFIFO | 0o666)),
        "socket": archive(entry("s", b"", stat.S_IFSOCK | 0o666)),
        "setuid": archive(entry("app.py", ECHO.encode(), 0o104755)),
        "no rights at all": archive(entry("app.py", ECHO.encode(), 0o100000)),
        "same name twice": archive(entry("app.py"), entry("app.py", ECHO.encode())),
        "names that differ in case": archive(entry("APP.py"), entry("app.py", ECHO.encode())),
        "file and directory": archive(entry("a"), entry("a/b")),
        "directory with content": archive(entry("a/", b"content")),
        "deep": archive(entry("d/" * 5000 + "f")),
        "long name": archive(entry("n" * 60_000)),
        "many entries": archive(*(entry(str(n), b"", kind=zipfile.ZIP_STORED) for n in range(60_000))),
        "honest bomb": archive(*(entry(str(n), bytes(100 << 20)) for n in range(3))),
        "overlapping bomb": overlapping(2000),
        "says it is small": patched(archive(entry("a", bytes(1 << 20))), 24, 10),
        "says it is large": patched(archive(entry("a", b"x" * 10)), 24, 0xFFFFFFF0),
        "wrong checksum": patched(good, 16, 0xDEADBEEF),
        "another local name": patched(good, 26, 60_000, "<H", b"PK\x03\x04"),
        "entry beyond the end": patched(good, 42, 0x7FFFFFFF),
        "zip64 lie": patched(patched(good, 20, 0xFFFFFFFF), 24, 0xFFFFFFFF),
        "encrypted": patched(good, 8, 1, "<H"),
        "unknown method": patched(good, 10, 99, "<H"),
        "directory before the start": good[:-6] + struct.pack("<I", 0xFFFFFF00) + b"\0\0",
        "count of entries lies": good[:-12] + struct.pack("<H", 60_000) + good[-10:],
        "long comment": archive(entry("app.py", ECHO.encode()), comment=b"PK\x05\x06" * 16_000),
        "something in front": b"#!/bin/sh\nexit 1\n" + good,
        "something behind": good + b"x" * 1000,
        "cut off": good[: len(good) // 2],
        "no zip": b"this is no zip",
        "empty zip": archive(),
        "gzip": b"\x1f\x8b\x08" + bytes(100),
    }
    return made


def mutated(random, data):
    """`data` with a few bytes changed, taken out, doubled, or swapped for interesting numbers."""
    data = bytearray(data)
    for _ in range(random.choice((1, 1, 2, 4, 8))):
        if not data:
            break
        at = random.randrange(len(data))
        match random.randrange(6):
            case 0:
                data[at] ^= 1 << random.randrange(8)
            case 1:
                data[at : at + 4] = random.choice(
                    (b"\xff\xff\xff\xff", b"\0\0\0\0", b"\x7f\xff\xff\xff", b"../x")
                )
            case 2:
                del data[at : at + random.randrange(1, 64)]
            case 3:
                data[at:at] = data[at : at + random.randrange(1, 64)]
            case 4:
                for mark in (b"PK\x01\x02", b"PK\x03\x04", b"PK\x05\x06"):
                    found = data.find(mark)
                    if found >= 0 and random.random() < 0.5:
                        field = found + random.randrange(4, 46)
                        data[field : field + 2] = random.randbytes(2)
            case 5:
                data[at : at + 8] = random.randbytes(8)
    return bytes(data)


def outside(server):
    """Files where no package may write: anywhere but in directories of unpacked code."""
    places = [server.home, server.data_dir, server.data_dir / "cache", server.data_dir / "run"]
    found = {str(path) for place in places for path in place.iterdir()}
    found |= {str(path) for path in (server.data_dir / "cache" / "code").iterdir()}
    return {path for path in found if len(os.path.basename(path)) != 64} | {
        os.path.join("/tmp", name) for name in os.listdir("/tmp") if CANARY in name
    }


def main():
    with Campaign("c9", __doc__.splitlines()[0][4:], tiny=0, pr=5000, night=500_000) as campaign:
        server = campaign.server()
        client, access = server.client(), server.access()
        name = deploy(client, ECHO, FunctionName=fresh_name("packed"))
        path = f"/2015-03-31/functions/{name}/code"
        answers, taken, strange = {}, [], []

        def upload(what, data):
            encoded = base64.b64encode(data)
            started = time.monotonic()
            answer = aws.send(access, "PUT", path, b'{"ZipFile":"' + encoded + b'"}')
            taken.append(time.monotonic() - started)
            answers[answer.status] = answers.get(answer.status, 0) + 1
            if answer.status == 409:  # The change before is still being made.
                wait(client, name)
            elif answer.status != 200 and not 400 <= answer.status < 500:
                strange.append(f"{what}: {answer.status} {answer.body[:200]}")

        with GoodClient(server, pause=0.1) as good:
            before = outside(server)
            seeds = by_hand() | corpus_zip.cases() | corpus_zip.of_zip()
            for what, data in seeds.items():
                upload(what, data)
                wait(client, name)
            small = [data for data in seeds.values() if len(data) < 4096]
            for n in range(campaign.size):
                upload(f"mutation {n}", mutated(campaign.random, campaign.random.choice(small)))
            wait(client, name)
            after = outside(server)
        campaign.note("packages by name", len(seeds))
        campaign.note("packages", sum(answers.values()))
        campaign.note("answers", " ".join(f"{n}×{status}" for status, n in sorted(answers.items())))
        for line in strange[:5]:
            print(line)
        for line in sorted(after - before)[:5]:
            print("outside:", line)
        campaign.bar("answers that are neither 200 nor 4xx", len(strange), 0)
        campaign.bar("files outside", len(after - before), 0)
        campaign.bar("longest answer, s", max(taken), 30.0)
        campaign.note("answer, p50, ms", 1000 * percentile(taken, 0.5))
        campaign.bar("errors of a good client", len(good.errors), 0)
        campaign.note("server's memory at the most, MiB", observer.peak(server.pid) / 2**20)
        campaign.bar("panics", server.log().count("panicked at"), 0)


def wait(client, name):
    client.get_waiter("function_updated_v2").wait(
        FunctionName=name, WaiterConfig={"Delay": 0, "MaxAttempts": 10_000}
    )


main()
