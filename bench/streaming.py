"""Streamed responses: how soon the first byte is here, and how fast the rest comes.

`bench/streaming`: the same program writes the same bytes once as a function in Lamplight, and once
behind a plain proxy made of the same HTTP library. Rounds are interleaved. Exits with 1 when a bar
breaks: the first byte within 2 ms of its writing (p50), 200 MB at no less than half of the proxy's
speed, and the server's memory bounded.
"""

import argparse
import json
import os
import pathlib
import re
import socket
import subprocess
import sys
import time

import page
from figures import load_average
from harness import aws, code, place
from harness.functions import deploy
from harness.server import Server

MIB = 1 << 20
# Writes a stream to a socket: the time of its first byte first, then so many MiB.
WRITER = """
import time

def write(sock, mib):
    def chunk(data):
        sock.sendall(b"%x\\r\\n" % len(data) + data + b"\\r\\n")
    chunk(b"[%d]" % time.time_ns())
    piece = bytes(1 << 20)
    for _ in range(mib):
        chunk(piece)
    sock.sendall(b"0\\r\\n\\r\\n")
"""
BOOTSTRAP = """#!/usr/bin/python3
import http.client, json, os, socket
exec(open("/var/task/writer.py").read())
api = os.environ["AWS_LAMBDA_RUNTIME_API"]
host, port = api.split(":")
base = "/2018-06-01/runtime/invocation/"
ask = http.client.HTTPConnection(api)
while True:
    ask.request("GET", base + "next")
    answer = ask.getresponse()
    event = json.loads(answer.read())
    id = answer.headers["Lambda-Runtime-Aws-Request-Id"]
    with socket.create_connection((host, int(port))) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.sendall((f"POST {base}{id}/response HTTP/1.1\\r\\nHost: {api}\\r\\n"
                      "Lambda-Runtime-Function-Response-Mode: streaming\\r\\n"
                      "Transfer-Encoding: chunked\\r\\n\\r\\n").encode())
        write(sock, event["mib"])
        sock.recv(4096)
"""
ORIGIN = WRITER + """
import socket, threading
def serve(sock):
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    head = b""
    while b"\\r\\n\\r\\n" not in head:
        head += sock.recv(4096)
    sock.sendall(b"HTTP/1.1 200 OK\\r\\nTransfer-Encoding: chunked\\r\\nConnection: close\\r\\n\\r\\n")
    write(sock, int(head.split()[1].strip(b"/")))
    sock.close()
listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
while True:
    threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()
"""


def read(port, request, least):
    """(milliseconds from the first byte's writing to its coming, seconds to the last)"""
    with socket.create_connection(("127.0.0.1", port), 60) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        started = time.monotonic()
        sock.sendall(request)
        head = b""
        while (written := re.search(rb"\[(\d+)\]", head)) is None:
            got = sock.recv(65536)
            assert got, head
            head += got
        first = (time.time_ns() - int(written[1])) / 1e6
        # The end of a chunked body, and not something in its middle: zeros have no line feeds.
        total, tail, buffer = len(head), head[-7:], bytearray(1 << 18)
        while not tail.endswith(b"\r\n0\r\n\r\n"):
            count = sock.recv_into(buffer)
            assert count, "the answer broke off"
            total += count
            tail = (tail + bytes(buffer[max(0, count - 7) : count]))[-7:]
        assert total >= least, (total, least)
        return first, time.monotonic() - started


def signed(access, name, mib):
    path = f"/2021-11-15/functions/{name}/response-streaming-invocations"
    body = json.dumps({"mib": mib}).encode()
    headers = dict(aws.signed(access, "POST", path, body, {}, "lambda").headers.items())
    headers |= {"Host": access.endpoint.removeprefix("http://"), "Content-Length": str(len(body))}
    lines = "".join(f"{key}: {value}\r\n" for key, value in headers.items())
    return f"POST {path} HTTP/1.1\r\n{lines}\r\n".encode() + body


def memory(server):
    text = pathlib.Path(f"/proc/{server.pid}/status").read_text()
    return int(re.search(r"VmHWM:\s*(\d+) kB", text)[1]) / 1024


def middle(values):
    return sorted(values)[len(values) // 2]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--first-bytes", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--docs", type=pathlib.Path, help="where to write; docs after a whole run, else target/bench")
    arguments = parser.parse_args()
    before_all = load_average()
    origin = subprocess.Popen([sys.executable, "-c", ORIGIN], stdout=subprocess.PIPE, text=True)
    proxy = subprocess.Popen(
        [os.environ["PLAIN_PROXY"], f"127.0.0.1:{origin.stdout.readline().strip()}"],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        proxy_port = int(proxy.stdout.readline().rpartition(":")[2])
        with Server() as server:
            access, client = server.access(), server.client()
            package = code.bootstrap(BOOTSTRAP, {"writer.py": WRITER})
            name = deploy(client, package, Runtime="provided.al2023", Handler="any",
                          MemorySize=1769, Timeout=120)  # fmt: skip
            plain = lambda mib: f"GET /{mib} HTTP/1.1\r\nHost: a\r\n\r\n".encode()  # noqa: E731
            ways = {
                "lamplight": lambda mib: read(server.port, signed(access, name, mib), mib * MIB),
                "plain proxy": lambda mib: read(proxy_port, plain(mib), mib * MIB),
            }
            firsts, speeds = {way: [] for way in ways}, {way: [] for way in ways}
            for way in ways.values():
                way(0)
            for _ in range(arguments.first_bytes):
                for way, go in ways.items():
                    firsts[way].append(go(0)[0])
            before = memory(server)
            for _ in range(arguments.rounds):
                for way, go in ways.items():
                    speeds[way].append(199 / go(199)[1])
            grown = memory(server) - before
    finally:
        for process in (proxy, origin):
            process.kill()
            process.wait()
    print(f"{os.cpu_count()} processors, load {os.getloadavg()[0]:.1f}, {place.binary()}")
    for way in ways:
        last = sorted(firsts[way])[int(0.99 * len(firsts[way]))]
        print(f"  {way:<12} first byte p50 {middle(firsts[way]):6.2f} ms  p99 {last:6.2f} ms  "
              f"200 MB at {middle(speeds[way]):6.0f} MiB/s")  # fmt: skip
    ratio = middle(speeds["lamplight"]) / middle(speeds["plain proxy"])
    held = [
        ("first byte p50, ms", middle(firsts["lamplight"]), "≤ 2", middle(firsts["lamplight"]) <= 2),
        ("speed, of the proxy's", ratio, "≥ 0.5", ratio >= 0.5),
        ("memory for it, MiB", grown, "≤ 16", grown <= 16),
    ]
    for what, value, bar, good in held:
        print(f"  {what:<24} {value:6.2f}  {bar:<6} {'ok' if good else 'BROKEN'}")
    given = page.circumstances(before_all)
    speeds_table = [("server", "first byte p50, ms", "p99, ms", "200 MB at, MiB/s"), *(
        (way, f"{middle(firsts[way]):.2f}", f"{sorted(firsts[way])[int(0.99 * len(firsts[way]))]:.2f}", f"{middle(speeds[way]):.0f}")
        for way in ways
    )]  # fmt: skip
    bars = [("bar", "measured", "", ""), *(
        (what, f"{value:.2f}", bar, "held" if good else "**broken**") for what, value, bar, good in held
    )]  # fmt: skip
    section = "\n\n".join([
        "## Streamed responses",
        f"`bench/streaming`. {page.said(given)} The same program writes the same bytes as a function and behind "
        "a plain proxy made of the same HTTP library; rounds take turns. A first byte is timed from its writing.",
        page.table(speeds_table), page.table(bars),
    ])  # fmt: skip
    whole = arguments.first_bytes >= 200 and arguments.rounds >= 5
    docs = arguments.docs or (page.DOCS if whole else place.ROOT / "target" / "bench")
    page.write("streaming", section, {"version": 1, **given, "ways": speeds_table, "bars": bars}, docs=docs)
    sys.exit(0 if all(good for *_, good in held) else 1)


main()
