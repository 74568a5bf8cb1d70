"""The control plane on a store with many functions: each operation alone, listings page by page, a
start, and memory.

Everything in the store was made through the API. Requests are signed before the clock starts, and
go over one connection, one after the other. Beside each figure stand two floors of the same
moment: GetAccountSettings, which is a request that does next to nothing, and one fdatasync in the
same file system, which a change cannot do without.
"""

import argparse
import base64
import json
import os
import pathlib
import random
import threading
import time
import urllib.parse

import load
import page
from figures import load_average, machine, percentile, print_table
from harness import aws, code, place
from harness.leftovers import wait_until
from harness.server import Server

FUNCTIONS, TAGS = "/2015-03-31/functions", "/2017-03-31/tags"
MAPPINGS, LAYERS = "/2015-03-31/event-source-mappings", "/2018-10-31/layers"
ARN = f"arn:aws:lambda:us-east-1:{aws.ACCOUNT}"
FUNCTIONS_IN_FULL = 10_000
SOURCE = "def handler(event, context):\n    return {}\n"
MIB = 1 << 20


def package(number):
    """Every function has code of its own."""
    return base64.b64encode(code.python(SOURCE.format(number))).decode()


def name(number):
    return f"function-{number:06}"


def new_function(number, called=None):
    return {
        "FunctionName": called or name(number), "Runtime": place.python_runtime(), "Handler": "app.handler",
        "Role": aws.ROLE, "Timeout": 30, "MemorySize": 256, "Description": f"the function of number {number}",
        "Environment": {"Variables": {"STAGE": "bench", "NUMBER": str(number), "TABLE": "lamps"}},
        "Code": {"ZipFile": package(number)}, "Tags": {"street": f"street {number % 97}", "lamp": "yes"},
    }  # fmt: skip


def permission(number):
    return {
        "StatementId": f"s{number}", "Action": "lambda:InvokeFunction", "Principal": "s3.amazonaws.com",
        "SourceArn": "arn:aws:s3:::lamps", "SourceAccount": aws.ACCOUNT,
    }  # fmt: skip


def mapping(function, queue):
    source = f"arn:aws:kinesis:us-east-1:{aws.ACCOUNT}:stream/{queue}"
    return {"FunctionName": function, "EventSourceArn": source, "StartingPosition": "LATEST"}


class Client:
    """One connection; every answer is checked."""

    def __init__(self, server):
        access = server.access()
        self.signer = load.Signer(server.port, access.key, access.secret)
        self.connection = load.Connection(server.port)

    def timed(self, method, path, body=None):
        data = b"" if body is None else json.dumps(body).encode()
        seconds, status, answer = self.connection.timed(self.signer.request(path, data, method))
        assert status < 300, f"{method} {path}: {status} {answer[:500]}"
        return seconds, answer

    def __call__(self, *request):
        answer = self.timed(*request)[1]
        return json.loads(answer) if answer else None


class Store:
    """Fills a store through the API, with `clients` connections."""

    def __init__(self, server, functions, clients=8):
        self.server, self.functions, self.clients = server, functions, clients
        self.uuids = [None] * functions

    def fill(self):
        numbers, problems = iter(range(self.functions)), []
        taking = threading.Lock()

        def work():
            client = Client(self.server)
            try:
                while True:
                    with taking:
                        number = next(numbers, None)
                    if number is None:
                        return
                    self.one(client, number)
            except Exception as problem:
                problems.append(problem)

        threads = [threading.Thread(target=work) for _ in range(self.clients)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if problems:
            raise problems[0]

    def one(self, client, number):
        function = f"{FUNCTIONS}/{name(number)}"
        client("POST", FUNCTIONS, new_function(number))
        client("POST", f"{function}/policy", permission(0))
        self.uuids[number] = client("POST", MAPPINGS, mapping(name(number), name(number)))["UUID"]
        if number % 10 == 0:
            active(client, name(number))
            client("POST", f"{function}/versions", {})
            client("POST", f"{function}/aliases", {"Name": "live", "FunctionVersion": "1"})


def active(client, called):
    def settled():
        settings = client("GET", f"{FUNCTIONS}/{called}/configuration")
        return settings["State"] == "Active" and settings.get("LastUpdateStatus") == "Successful"

    wait_until(settled, f"{called} to be active", 60)


def quoted(text):
    return urllib.parse.quote(text, safe="")


def operations(client, store, calls):
    """(kind, operation, requests): each request is made ready before it is timed."""
    numbers = random.Random(1).sample(range(store.functions), min(calls, store.functions // 20) * 2)
    half = len(numbers) // 2
    some, others = numbers[:half], numbers[half:]
    versioned = random.Random(2).sample(range(0, store.functions, 10), half)
    fresh = [f"new-{number}" for number in range(half)]

    def of(numbers, method, path, body=lambda number: None):
        return [(method, path(number), body(number)) for number in numbers]

    function = lambda number: f"{FUNCTIONS}/{name(number)}"  # noqa: E731
    below = lambda what: lambda number: f"{function(number)}/{what}"  # noqa: E731
    dated = lambda date, what: lambda number: f"/{date}/functions/{name(number)}/{what}"  # noqa: E731
    tags = lambda number: f"{TAGS}/{quoted(f'{ARN}:function:{name(number)}')}"  # noqa: E731
    new = lambda called: f"{FUNCTIONS}/{called}"  # noqa: E731
    url, invoke = dated("2021-10-31", "url"), dated("2019-09-25", "event-invoke-config")
    yield "get", "GetFunction", of(some, "GET", function)
    yield "get", "GetFunctionConfiguration", of(some, "GET", below("configuration"))
    yield "get", "GetPolicy", of(some, "GET", below("policy"))
    yield "get", "GetAlias", of(versioned, "GET", below("aliases/live"))
    yield "get", "GetFunctionConcurrency", of(some, "GET", dated("2019-09-30", "concurrency"))
    yield "get", "GetFunctionCodeSigningConfig", of(some, "GET", dated("2020-06-30", "code-signing-config"))
    yield "get", "GetEventSourceMapping", [("GET", f"{MAPPINGS}/{store.uuids[n]}", None) for n in some]
    yield "get", "ListTags", of(some, "GET", tags)
    yield "list", "ListFunctions of 50", [("GET", f"{FUNCTIONS}?MaxItems=50", None)] * half
    yield "list", "ListVersionsByFunction", of(versioned, "GET", below("versions"))
    yield "list", "ListAliases", of(versioned, "GET", below("aliases"))
    yield "list", "ListEventSourceMappings of one", of(some, "GET", lambda n: f"{MAPPINGS}?FunctionName={name(n)}")
    yield "list", "ListEventSourceMappings of 50", [("GET", f"{MAPPINGS}?MaxItems=50", None)] * half
    yield "list", "ListLayers", [("GET", LAYERS, None)] * half
    yield "tag", "TagResource", of(some, "POST", tags, lambda _: {"Tags": {"a": "b"}})
    yield "tag", "UntagResource", of(some, "DELETE", lambda n: tags(n) + "?tagKeys=a")
    yield "policy", "AddPermission", of(some, "POST", below("policy"), lambda _: permission(1))
    yield "policy", "RemovePermission", of(some, "DELETE", below("policy/s1"))
    yield "concurrency", "PutFunctionConcurrency", of(
        some, "PUT", dated("2017-10-31", "concurrency"), lambda _: {"ReservedConcurrentExecutions": 1}
    )
    yield "concurrency", "DeleteFunctionConcurrency", of(some, "DELETE", dated("2017-10-31", "concurrency"))
    yield "settings", "PutFunctionEventInvokeConfig", of(some, "PUT", invoke, lambda _: {"MaximumRetryAttempts": 1})
    yield "settings", "CreateFunctionUrlConfig", of(some, "POST", url, lambda _: {"AuthType": "NONE"})
    yield "settings", "DeleteFunctionUrlConfig", of(some, "DELETE", url)
    yield "update", "UpdateFunctionConfiguration", of(
        some, "PUT", below("configuration"), lambda n: {"Description": f"changed {n}"}
    )
    yield "update", "UpdateFunctionCode", of(
        others, "PUT", below("code"), lambda n: {"ZipFile": package(store.functions + n)}
    )
    for number in some + others:
        active(client, name(number))
    yield "update", "PublishVersion", of(some, "POST", below("versions"), lambda _: {})
    yield "update", "UpdateAlias", of(versioned, "PUT", below("aliases/live"), lambda _: {"Description": "changed"})
    yield "mapping", "CreateEventSourceMapping", [
        ("POST", MAPPINGS, mapping(name(n), f"second-{n}")) for n in some
    ]
    yield "mapping", "UpdateEventSourceMapping", of(
        some, "PUT", lambda n: f"{MAPPINGS}/{store.uuids[n]}", lambda _: {"BatchSize": 7}
    )
    yield "mapping", "DeleteEventSourceMapping", of(others, "DELETE", lambda n: f"{MAPPINGS}/{store.uuids[n]}")
    yield "layer", "PublishLayerVersion", [
        ("POST", f"{LAYERS}/layer-{n}/versions", {"Content": {"ZipFile": package(-n)}}) for n in some
    ]
    yield "layer", "DeleteLayerVersion", [("DELETE", f"{LAYERS}/layer-{n}/versions/1", None) for n in some]
    yield "create", "CreateFunction", [
        ("POST", FUNCTIONS, new_function(2 * store.functions + n, called)) for n, called in enumerate(fresh)
    ]
    for called in fresh:
        active(client, called)
    yield "delete", "DeleteFunction", of(fresh, "DELETE", new)


class Floors:
    """What cannot be undercut, measured between the requests it is compared with."""

    def __init__(self, client, directory):
        self.client = client
        self.file = open(directory / "fdatasync", "wb", buffering=0)
        self.reads, self.syncs = [], []

    def measure(self):
        self.reads.append(self.client.timed("GET", "/2016-08-19/account-settings")[0])
        start = time.perf_counter()
        self.file.write(bytes(4096))
        os.fdatasync(self.file.fileno())
        self.syncs.append(time.perf_counter() - start)


def milliseconds(seconds):
    return f"{seconds * 1000:.2f}"


def measure(client, store, directory, calls):
    rows, slowest = [("kind", "operation", "n", "p50 ms", "p99 ms", "to GetAccountSettings")], 0
    floors = Floors(client, directory)
    for kind, operation, requests in operations(client, store, calls):
        seconds, beside = [], len(floors.reads)
        for request in requests:
            floors.measure()
            seconds.append(client.timed(*request)[0])
        middle = percentile(seconds, 0.5)
        slowest = max(slowest, middle)
        ratio = middle / percentile(floors.reads[beside:], 0.5)
        rows.append((kind, operation, len(seconds), milliseconds(middle), milliseconds(percentile(seconds, 0.99)),
                     f"{ratio:.1f}"))  # fmt: skip
    for kind, seconds in (("GetAccountSettings", floors.reads), ("fdatasync of 4 KiB", floors.syncs)):
        rows.append(("floor", kind, len(seconds), milliseconds(percentile(seconds, 0.5)),
                     milliseconds(percentile(seconds, 0.99)), ""))  # fmt: skip
    print_table(rows)
    print(f"slowest p50: {milliseconds(slowest)} ms\n")
    return rows, slowest


def pages(client, path, member):
    """Seconds of each page of a listing, and how many items there were."""
    seconds, items, marker = [], 0, None
    while True:
        query = "" if marker is None else f"?Marker={quoted(marker)}"
        taken, answer = client.timed("GET", path + query)
        seconds.append(taken)
        page = json.loads(answer)
        items += len(page[member])
        marker = page.get("NextMarker")
        if not marker:
            return seconds, items


def listings(client):
    rows = [("whole listing", "items", "pages", "first fifth p50 ms", "last fifth p50 ms", "whole ms")]
    for path, member in ((FUNCTIONS, "Functions"), (MAPPINGS, "EventSourceMappings")):
        seconds, items = pages(client, path, member)
        fifth = max(1, len(seconds) // 5)
        rows.append((member, items, len(seconds), milliseconds(percentile(seconds[:fifth], 0.5)),
                     milliseconds(percentile(seconds[-fifth:], 0.5)), milliseconds(sum(seconds))))  # fmt: skip
    print_table(rows)
    return rows


def status(server, field):
    lines = pathlib.Path(f"/proc/{server.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field))


def start(server):
    """Seconds from the start of the process to its first answer."""
    begin = time.perf_counter()
    server.start()
    Client(server)("GET", "/2016-08-19/account-settings")
    return time.perf_counter() - begin


def section(functions, given, slowest, tables):
    parts = [
        f"## The control plane with {functions:,} functions".replace(",", " "),
        f"`bench/control`. {page.said(given)} Isolation and signatures are on. Every function has code of its "
        "own, tags, a policy and an event source mapping; each tenth a version and an alias. Milliseconds for "
        "one request after another on one connection; what counts is the distance from the two floors of the "
        "same moments. Operations that bring code wait for the disk three times, for the zip file, its name "
        "and the record; other changes once.",
        *map(page.table, tables),
        f"Bar: p50 of every operation at most 5 ms; the slowest has {milliseconds(slowest)} ms: "
        f"{'held' if slowest <= 0.005 else '**broken**'}.",
    ]
    return "\n\n".join(parts)


def main():
    parser = argparse.ArgumentParser(prog="bench/control", description=__doc__.split("\n")[0])
    parser.add_argument("--functions", type=int, default=FUNCTIONS_IN_FULL)
    parser.add_argument("--calls", type=int, default=200, help="of each operation")
    parser.add_argument("--docs", type=pathlib.Path, help="where to write; docs with all functions, else target/bench")
    arguments = parser.parse_args()
    before = load_average()
    print(f"machine: {machine()}\nload before: {before}\nbinary: {place.binary()}\n", flush=True)
    server = Server()
    try:
        empty = start(server)
        rows = [("server", "start ms", "resident MiB"), ("empty", milliseconds(empty), f"{status(server, 'VmRSS') / MIB:.1f}")]
        store = Store(server, arguments.functions)
        begin = time.perf_counter()
        store.fill()
        took = time.perf_counter() - begin
        print(f"{arguments.functions} functions, each with code, tags, a policy and a mapping, in {took:.0f} s\n", flush=True)
        rows.append(("filled", "-", f"{status(server, 'VmRSS') / MIB:.1f}"))
        listed = listings(Client(server))
        measured, slowest = measure(Client(server), store, server.home, arguments.calls)
        server.stop()
        again = start(server)
        rows.append(("started again", milliseconds(again), f"{status(server, 'VmRSS') / MIB:.1f}"))
        print_table(rows)
        server.stop()
    finally:
        server.discard()
    print(f"load after: {load_average()}")
    given = page.circumstances(before)
    tables = [measured, listed, rows]
    docs = arguments.docs or (page.DOCS if arguments.functions == FUNCTIONS_IN_FULL else place.ROOT / "target" / "bench")
    result = {"version": 1, **given, "functions": arguments.functions, "slowest p50": slowest, "tables": tables}
    page.write("control", section(arguments.functions, given, slowest, tables), result, docs=docs)


if __name__ == "__main__":
    main()
