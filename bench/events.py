"""Events: how long their acceptance takes, how many a second, how fast they are worked off, how soon
one starts, and what queued ones cost in memory.

Beside each figure stands its floor of the same run: one fdatasync in the same file system and one
round trip over loopback for an acceptance, synchronous calls of the same function for the rates.
Run it as `bench/events`, on a release build and an otherwise idle machine.
"""

import argparse
import json
import multiprocessing
import os
import socket
import time

import load
from compare import machine, percentile, print_table
from harness import code
from harness.functions import deploy
from harness.leftovers import wait_until
from harness.server import Server

SOURCE = """
import time
def handler(event, context):
    if event.get("tell"):
        print("STARTED", time.time())
    time.sleep(event.get("sleep", 0))
"""
MIB = 1 << 20


def signer(server):
    access = server.access()
    return load.Signer(int(server.endpoint.rsplit(":", 1)[1]), access.key, access.secret)


def asynchronous(name):
    return f"/2014-11-13/functions/{name}/invoke-async"


def synchronous(name):
    return f"/2015-03-31/functions/{name}/invocations"


def one_after_the_other(sign, path, body, count, expected):
    connection, taken = load.Connection(sign.port), []
    for _ in range(count):
        seconds, status, answer = connection.timed(sign.request(path, body))
        assert status == expected, answer
        taken.append(seconds)
    connection.close()
    return taken


def client(sign, path, body, until, expected, done):
    connection, count = load.Connection(sign.port), 0
    while time.monotonic() < until:
        _, status, answer = connection.timed(sign.request(path, body))
        assert status == expected, answer
        count += 1
    done.put(count)


def rate(sign, path, body, clients, seconds, expected):
    """Answers a second to so many clients, each a process of its own."""
    done, until = multiprocessing.Queue(), time.monotonic() + seconds
    arguments = (sign, path, body, until, expected, done)
    processes = [multiprocessing.Process(target=client, args=arguments) for _ in range(clients)]
    for process in processes:
        process.start()
    counts = [done.get(timeout=seconds + 60) for _ in processes]
    for process in processes:
        process.join()
    return sum(counts) / seconds, sum(counts)


def fdatasync(directory, count):
    taken, path = [], directory / "fdatasync"
    with open(path, "wb") as file:
        for _ in range(count):
            file.write(b"x" * 4096)
            file.flush()
            start = time.perf_counter()
            os.fdatasync(file.fileno())
            taken.append(time.perf_counter() - start)
    path.unlink()
    return taken


def loopback(count):
    taken, listener = [], socket.create_server(("127.0.0.1", 0))

    def echo():
        with listener.accept()[0] as peer:
            while data := peer.recv(4096):
                peer.sendall(data)

    process = multiprocessing.Process(target=echo)
    process.start()
    with socket.create_connection(listener.getsockname()) as near:
        near.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for _ in range(count):
            start = time.perf_counter()
            near.sendall(b"x" * 512)
            near.recv(4096)
            taken.append(time.perf_counter() - start)
    process.join()
    listener.close()
    return taken


def memory(server):
    with open(f"/proc/{server.process.pid}/status") as status:
        [line] = [line for line in status if line.startswith("VmRSS:")]
    return int(line.split()[1]) * 1024


def queued(server):
    sign = signer(server)
    connection = load.Connection(sign.port)
    _, status, body = connection.timed(sign.request("/_lamplight/events", b"", "GET"))
    connection.close()
    assert status == 200, body
    return sum(q["Ready"] + q["Leased"] + q["Delayed"] for q in json.loads(body)["Queues"])


def starts(server, name, sign, count):
    """Seconds from sending an event to its handler's first line, on an idle server."""
    connection, sent = load.Connection(sign.port), []
    for _ in range(count):
        wait_until(lambda: queued(server) == 0, "an idle queue")
        now = time.time()
        connection.timed(sign.request(asynchronous(name), b'{"tell": true}'))
        sent.append(now)
    connection.close()
    logs = server.client("logs")

    def lines():
        pages = logs.get_paginator("filter_log_events").paginate(
            logGroupName=f"/aws/lambda/{name}", filterPattern="STARTED"
        )
        found = [event["message"] for page in pages for event in page["events"]]
        return found if len(found) == count else None

    started = sorted(float(line.split()[-1]) for line in wait_until(lines, "every start", 60))
    return [start - send for start, send in zip(started, sent, strict=True)]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--single", type=int, default=2000)
    parser.add_argument("--queued", type=int, default=100_000)
    options = parser.parse_args()
    server = Server()
    try:
        server.start()
        measure(server, options)
    finally:
        server.stop()
        server.discard()


def measure(server, options):
    lamp, sign = server.client(), signer(server)
    name = deploy(lamp, code.python(SOURCE))
    one_after_the_other(sign, synchronous(name), b"{}", 50, 200)
    accepted = one_after_the_other(sign, asynchronous(name), b"{}", options.single, 202)
    floors = percentile(fdatasync(server.home, 500), 0.5) + percentile(loopback(2000), 0.5)
    p50 = percentile(accepted, 0.5)
    wait_until(lambda: queued(server) == 0, "the queue to be empty", 600)
    begun = starts(server, name, sign, min(200, options.single))
    calls, _ = rate(sign, synchronous(name), b"{}", 64, options.seconds, 200)
    start = time.monotonic()
    events, sent = rate(sign, asynchronous(name), b"{}", 64, options.seconds, 202)
    wait_until(lambda: queued(server) == 0, "the queue to be empty", 3600)
    drained = sent / (time.monotonic() - start)
    ms = lambda seconds: f"{seconds * 1000:.2f} ms"  # noqa: E731
    rows = [
        ("accept, one client, p50", ms(p50), f"floor {ms(floors)}, {p50 / floors:.1f} times"),
        ("event to handler, p50", ms(percentile(begun, 0.5)), "goal 3 ms"),
        ("event to handler, p99", ms(percentile(begun, 0.99)), "goal 15 ms"),
        ("accepted a second, 64 clients", f"{events:.0f}", f"{events / calls:.0%} of calls"),
        ("worked off a second, while they come", f"{drained:.0f}", f"{drained / calls:.0%} of calls"),
    ]
    lamp.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=1)
    one_after_the_other(sign, asynchronous(name), b'{"sleep": 15}', 1, 202)
    before = memory(server)
    while (waiting := queued(server)) < options.queued:
        rate(sign, asynchronous(name), b"{}", 16, 2, 202)
    grown = (memory(server) - before) / MIB
    rows.append((f"memory for {waiting} queued events", f"{grown:.0f} MiB", "goal 100 MiB"))
    print(machine())
    print_table([("", "measured", "beside it"), *rows])


if __name__ == "__main__":
    main()
