"""Malformed HTTP, each kind by its name: what parsers, proxies and floods of HTTP/2 are tested with.

`cases()` are written here. `of_httparse()` reads the requests in the tests of the parser itself, from
wherever cargo keeps its source; it is empty where that is not.
"""

import os
import pathlib
import re

HEAD = b"POST /2015-03-31/functions HTTP/1.1\r\nHost: a\r\n"
GET = b"GET /2015-03-31/functions HTTP/1.1\r\nHost: a\r\n"
SMUGGLED = b"GET /2015-03-31/functions HTTP/1.1\r\nHost: smuggled\r\n\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


def chunks(body):
    return HEAD + CHUNKED + b"\r\n" + body


def framing():
    """Where a body ends: everything that two readers may understand in two ways."""
    end = b"0\r\n\r\n"
    bodies = {
        "extension": b"5;a=b\r\nhello\r\n" + end,
        "extension with a line feed": b"5;a=\nb\r\nhello\r\n" + end,
        "extension with a bare return": b"5;a=\rb\r\nhello\r\n" + end,
        "extension that is quoted": b'5;a="\r\n0\r\n\r\n"\r\nhello\r\n' + end,
        "extension of 64 KB": b"5;" + b"a" * 65_536 + b"\r\nhello\r\n" + end,
        "many extensions": b"1;aaaaaaaaaaaaaaa=b\r\nx\r\n" * 5_000 + end,
        "extension at the end": b"0;" + b"a" * 30_000 + b"\r\n\r\n",
        "size in hex with a mark": b"0x5\r\nhello\r\n" + end,
        "size below zero": b"-5\r\nhello\r\n" + end,
        "size with a plus": b"+5\r\nhello\r\n" + end,
        "size that overflows": b"10000000000000005\r\nhello\r\n" + end,
        "size of all bits": b"ffffffffffffffff\r\nhello\r\n" + end,
        "size with many zeros": b"0" * 10_000 + b"5\r\nhello\r\n" + end,
        "size after a blank": b" 5\r\nhello\r\n" + end,
        "size before a blank": b"5 \r\nhello\r\n" + end,
        "size with an underscore": b"1_0\r\nhello\r\n" + end,
        "no size": b"\r\nhello\r\n" + end,
        "size before a line feed": b"5\nhello\r\n" + end,
        "data longer than its size": b"5\r\nhello, world\r\n" + end,
        "data without an end of line": b"5\r\nhello0\r\n\r\n",
        "data before another end of line": b"5\r\nhelloXX0\r\n\r\n",
        "no last chunk": b"5\r\nhello\r\n",
        "cut in a size": b"5\r\nhello\r\n1",
        "200 trailers": b"0\r\n" + b"X: y\r\n" * 200 + b"\r\n",
        "trailer of 64 KB": b"0\r\nX: " + b"y" * 65_536 + b"\r\n\r\n",
        "trailer with a length": b"0\r\nContent-Length: 50\r\n\r\n" + SMUGGLED,
        "trailer with a coding": b"0\r\nTransfer-Encoding: chunked\r\n\r\n" + SMUGGLED,
        "trailer that folds": b"0\r\nX: y\r\n z\r\n\r\n",
        "trailer without a name": b"0\r\n: y\r\n\r\n",
        "trailers without an end": b"0\r\nX: y\r\n",
        "100 000 chunks of a byte": b"1\r\nx\r\n" * 100_000 + end,
    }
    lengths = {
        "length twice": b"Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
        "two lengths": b"Content-Length: 0\r\nContent-Length: 50\r\n\r\n" + SMUGGLED,
        "length as a list": b"Content-Length: 5, 5\r\n\r\nhello",
        "length before coding": b"Content-Length: 4\r\n" + CHUNKED + b"\r\n" + end + SMUGGLED,
        "coding before length": CHUNKED + b"Content-Length: 4\r\n\r\n" + end + SMUGGLED,
        "length of nothing": b"Content-Length: \r\n\r\nhello",
        "length with a sign": b"Content-Length: +5\r\n\r\nhello",
        "length below zero": b"Content-Length: -5\r\n\r\nhello",
        "length with a point": b"Content-Length: 5.0\r\n\r\nhello",
        "length in hex": b"Content-Length: 0x5\r\n\r\nhello",
        "length in two words": b"Content-Length: 5 0\r\n\r\nhello",
        "length that overflows": b"Content-Length: 18446744073709551621\r\n\r\nhello",
        "length after a bare return": b"X: y\rContent-Length: 50\r\n\r\n" + SMUGGLED,
        "length behind NUL": b"Content-Length: 0\x0050\r\n\r\n" + SMUGGLED,
        "length with a blank before the colon": b"Content-Length : 50\r\n\r\n" + SMUGGLED,
        "coding with a blank before the colon": b"Transfer-Encoding : chunked\r\n\r\n" + end + SMUGGLED,
        "coding that folds": b"Transfer-Encoding:\r\n chunked\r\n\r\n" + end + SMUGGLED,
        "coding after a vertical tab": b"Transfer-Encoding: \x0bchunked\r\n\r\n" + end,
        "coding in quotes": b'Transfer-Encoding: "chunked"\r\n\r\n' + end,
        "coding twice": CHUNKED + CHUNKED + b"\r\n" + end,
        "coding of coding": b"Transfer-Encoding: chunked, chunked\r\n\r\n" + end,
        "coding, then none": b"Transfer-Encoding: chunked, identity\r\n\r\n" + end + SMUGGLED,
        "coding, unknown": b"Transfer-Encoding: gzip, chunked\r\n\r\n" + end,
        "coding with a comma": b"Transfer-Encoding: ,chunked\r\n\r\n" + end,
        "coding in capitals": b"TRANSFER-ENCODING: CHUNKED\r\n\r\n" + end,
        "coding, almost": b"Transfer-Encoding: chunke\r\n\r\n" + end,
    }
    made = {f"chunks: {name}": chunks(body) for name, body in bodies.items()}
    made |= {f"framing: {name}": HEAD + rest for name, rest in lengths.items()}
    old = HEAD.replace(b"1.1", b"1.0")
    made["framing: chunks in 1.0"] = old + CHUNKED + b"\r\n" + end + SMUGGLED
    return made


def heads():
    """What goes before a body."""
    lines = {
        "folded line": b"X: y\r\n z\r\n\r\n", "folded first line": b" X: y\r\n\r\n", "no colon": b"X\r\n\r\n",
        "blank in a name": b"X Y: z\r\n\r\n", "NUL in a name": b"X\0: y\r\n\r\n", "NUL in a value": b"X: \0\r\n\r\n",
        "DEL in a value": b"X: \x7f\r\n\r\n", "high bytes": b"X\xff: \xfe\r\n\r\n", "no name": b": y\r\n\r\n",
        "line feeds alone": b"X: y\n\n", "returns alone": b"X: y\r\r", "return too many": b"X: y\r\r\n\r\n",
        "300 headers": b"X: y\r\n" * 300 + b"\r\n", "300 KB": b"X: " + b"y" * 300_000 + b"\r\n\r\n",
        "name of 64 KB": b"X" * 65_536 + b": y\r\n\r\n", "another host": b"Host: b\r\n\r\n",
        "a host with a user": b"Host: a@b\r\n\r\n", "a host with a path": b"Host: a/b\r\n\r\n",
        "expects in vain": b"Expect: 100-continue\r\nContent-Length: 5\r\n\r\n",
        "upgrade to HTTP/2": b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n",
        "upgrade to a web socket": b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: eA==\r\n\r\n",
        "never ends": b"X: y\r\n",
    }  # fmt: skip
    first = {
        "lines before": b"\r\n" * 1000 + GET + b"\r\n", "method of 64 KB": b"M" * 65_536 + b" / HTTP/1.1\r\n\r\n",
        "path of 70 KB": b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\n\r\n", "asterisk": b"GET * HTTP/1.1\r\nHost: a\r\n\r\n",
        "authority": b"CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n", "another server": b"GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n",
        "HTTP/0.9": b"GET /\r\n", "HTTP/1.2": b"GET / HTTP/1.2\r\n\r\n", "HTTP/3": b"GET / HTTP/3\r\n\r\n",
        "small letters": b"get / http/1.1\r\n\r\n", "tab": b"GET\t/ HTTP/1.1\r\n\r\n", "two blanks": b"GET  / HTTP/1.1\r\n\r\n",
        "no path": b"GET HTTP/1.1\r\n\r\n", "NUL in the path": b"GET /\0 HTTP/1.1\r\n\r\n",
        "500 in a row": GET.replace(b"1.1", b"9.1") * 500, "nothing": b"", "NUL": b"\0" * 1000,
        "TLS": bytes.fromhex("16030100c8010000c403035f") + bytes(300), "SSH": b"SSH-2.0-OpenSSH_9.6\r\n",
        "a proxy's line": b"PROXY TCP4 1.1.1.1 2.2.2.2 1 2\r\n" + GET + b"\r\n",
        "a proxy's bytes": b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c" + bytes(12) + GET + b"\r\n",
        "another protocol": b"OPTIONS rtsp://a RTSP/1.0\r\nCSeq: 1\r\n\r\n",
    }  # fmt: skip
    made = {f"head: {name}": GET + rest for name, rest in lines.items()}
    return made | {f"first line: {name}": data for name, data in first.items()}


def frame(kind, flags=0, stream=0, payload=b""):
    return len(payload).to_bytes(3) + bytes((kind, flags)) + stream.to_bytes(4) + payload


DATA, HEADERS, PRIORITY, RESET, SETTINGS, PUSH, PING, GOAWAY, WINDOW, CONTINUATION = range(10)


def http2():
    """Floods and lies in HTTP/2, which is not spoken: none may be more than its first bytes."""
    settings = frame(SETTINGS)
    # `:method: GET`, `:scheme: http`, `:path: /` of the static table.
    get = b"\x82\x86\x84"
    streams = range(1, 10_000, 2)
    cases = {
        "preface": b"", "preface, twice": PREFACE, "settings": settings,
        "flood of settings": settings + frame(SETTINGS, payload=bytes((0, 3, 0, 0, 0, 100))) * 20_000,
        "flood of acknowledgements": settings + frame(SETTINGS, 1) * 50_000,
        "flood of pings": settings + frame(PING, payload=bytes(8)) * 20_000,
        "flood of priorities": settings + frame(PRIORITY, 0, 1, bytes(5)) * 20_000,
        "flood of empty data": settings + frame(HEADERS, 4, 1, get) + frame(DATA, 0, 1) * 50_000,
        "rapid reset": settings
        + b"".join(frame(HEADERS, 5, n, get) + frame(RESET, 0, n, bytes(4)) for n in streams),
        "made to reset": settings
        + b"".join(frame(HEADERS, 5, n, get) + frame(WINDOW, 0, n, bytes(4)) for n in streams),
        "flood of continuations": settings + frame(HEADERS, 0, 1, get)
        + frame(CONTINUATION, 0, 1, b"\x00\x01a\x01b" * 2000) * 200,
        "continuations of nothing": settings + frame(HEADERS, 0, 1, get) + frame(CONTINUATION, 0, 1) * 50_000,
        "continuation of no headers": settings + frame(CONTINUATION, 4, 1, get),
        "bomb of the header table": settings
        + frame(HEADERS, 4, 1, get + b"\x40\x01a\x7f\xe1\x1e" + b"b" * 4000 + b"\xbe" * 8000),
        "number without an end": settings + frame(HEADERS, 4, 1, b"\xff" + b"\xff" * 1000),
        "index beyond the table": settings + frame(HEADERS, 4, 1, b"\xff\xff\xff\xff\x0f"),
        "table of 4 GB": settings + frame(HEADERS, 4, 1, b"\x3f\xe1\xff\xff\xff\x0f" + get),
        "letters by Huffman that end early": settings + frame(HEADERS, 4, 1, get + b"\x00\x81\xff\x81\xff"),
        "names without letters": settings + frame(HEADERS, 4, 1, b"\x00\x00\x00" * 5000),
        "stream that depends on itself": settings + frame(HEADERS, 0x24, 1, b"\x00\x00\x00\x01\xff" + get),
        "padding longer than its frame": settings + frame(HEADERS, 0xC, 1, b"\xff" + get),
        "window that overflows": settings + frame(WINDOW, 0, 0, b"\x7f\xff\xff\xff") * 2,
        "window of nothing": settings + frame(WINDOW, 0, 0, bytes(4)),
        "settings of an odd length": frame(SETTINGS, payload=bytes(5)),
        "settings of a stream": frame(SETTINGS, 0, 1), "first window too large": frame(SETTINGS, payload=b"\0\4\xff\xff\xff\xff"),
        "frames of nothing": frame(SETTINGS, payload=b"\0\5\0\0\0\0"), "push from a client": settings + frame(PUSH, 4, 1, bytes(4) + get),
        "data of no stream": settings + frame(DATA, 0, 0, b"x" * 100), "even stream": settings + frame(HEADERS, 5, 2, get),
        "frame of 16 MB": settings + b"\xff\xff\xff\x00\x00\x00\x00\x00\x01" + bytes(100_000),
        "unknown frames": settings + frame(0x42, 0xFF, 0x7FFFFFFF, bytes(100)) * 5000,
        "goodbye first": frame(GOAWAY, payload=bytes(8)), "settings that stop half way": settings[:5],
    }  # fmt: skip
    made = {f"HTTP/2: {name}": PREFACE + data for name, data in cases.items()}
    made["HTTP/2: preface cut off"] = PREFACE[:20]
    made["HTTP/2: no preface"] = settings
    return made


def cases():
    return framing() | heads() | http2()


LITERAL = re.compile(rb'b"((?:[^"\\]|\\.)*)"', re.DOTALL)
ESCAPE = re.compile(rb"\\(x[0-9a-fA-F]{2}|\n\s*|.)", re.DOTALL)
PLAIN = {b"r": b"\r", b"n": b"\n", b"t": b"\t", b"0": b"\0"}


def _meant(escape):
    text = escape[1]
    if text.startswith(b"\n"):
        return b""
    return bytes([int(text[1:], 16)]) if len(text) == 3 else PLAIN.get(text, text)


def sources(crate):
    """The files of the newest packaged source of a crate that cargo has here."""
    home = pathlib.Path(os.environ.get("CARGO_HOME", pathlib.Path.home() / ".cargo"))
    found = sorted((home / "registry/src").glob(f"*/{crate}-[0-9]*"))
    return sorted(found[-1].rglob("*.rs")) if found else []


def of_httparse():
    found = {}
    for path in sources("httparse"):
        for literal in LITERAL.findall(path.read_bytes()):
            data = ESCAPE.sub(_meant, literal)
            # Answers are there to be parsed as well, and parts of both.
            if len(data) > 8:
                found[f"httparse: {data[:60]!r}"] = data
    return found
