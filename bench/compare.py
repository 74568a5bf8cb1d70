"""Measures and prints: warm and cold calls, first calls at once, and many calls one by one.

Rounds are interleaved, so that a busy minute of the machine hits all contenders. Every figure in
the table comes from answers that were checked; wrong ones are counted, never timed.
"""

import argparse
import contextlib
import math
import os
import pathlib
import platform
import time

import load
from contenders import EVENT, LANGUAGES, Emulator, Lamplight, Ministack, right
from harness import place


def percentile(values, part):
    """The smallest value that at least `part` of all do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(part * len(ordered)) - 1)] if ordered else None


class Series:
    """What one contender did in one discipline."""

    def __init__(self):
        self.seconds, self.wrong = [], 0

    def add(self, seconds, status, body):
        if right(status, body):
            self.seconds.append(seconds)
        else:
            self.wrong += 1


def warm(contender, targets, language, calls, series):
    if language not in targets:
        target = targets[language] = contender.fresh(language)
        connection = load.Connection(target[0])
        connection.timed(contender.request(target))
        connection.close()
    target = targets[language]
    connection = load.Connection(target[0])
    for _ in range(calls):
        series.add(*connection.timed(contender.request(target)))
    connection.close()


def through_boto3(contender, targets, language, calls, series):
    """The same function as an application calls it; the emulator has no API to call."""
    function = targets[language][1]
    for _ in range(calls):
        start = time.perf_counter()
        answer = contender.client.invoke(FunctionName=function, Payload=EVENT)
        body = answer["Payload"].read()
        series.add(time.perf_counter() - start, answer["StatusCode"], body)


def cold(contender, language, calls, series):
    for _ in range(calls):
        target = contender.fresh(language)
        try:
            connection = load.Connection(target[0])
            series.add(*connection.timed(contender.request(target)))
            connection.close()
        finally:
            contender.discard(target)


def at_once(contender, count):
    """`count` first calls of one function at the same time."""
    target = contender.fresh("python")
    start = time.perf_counter()
    answers = load.together(target[0], lambda: contender.request(target), count)
    taken = time.perf_counter() - start
    contender.discard(target)
    good = [seconds for seconds, status, body in answers if status and right(status, body)]
    return good, taken


def figure(seconds):
    return "-" if seconds is None else f"{seconds * 1000:.2f}"


def print_table(rows):
    widths = [max(len(str(row[column])) for row in rows) for column in range(len(rows[0]))]
    for number, row in enumerate(rows):
        print("  ".join(str(cell).ljust(width) for cell, width in zip(row, widths)).rstrip())
        if number == 0:
            print("  ".join("-" * width for width in widths))
    print()


def machine():
    info = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.split(":")[1].strip() for line in info if line.startswith("model name")), "?")
    return f"{os.cpu_count()} x {model}, kernel {platform.release()}"


def load_average():
    return " ".join(f"{value:.2f}" for value in os.getloadavg())


def disciplines(contenders, sizes):
    series, targets = {}, {contender: {} for contender in contenders}
    for round_ in range(sizes.rounds):
        for language in LANGUAGES:
            # Each round begins with another one: none is always the first after a pause.
            turn = round_ % len(contenders)
            for contender in contenders[turn:] + contenders[:turn]:
                if language not in contender.languages:
                    continue
                one = lambda kind: series.setdefault((kind, language, contender), Series())  # noqa: E731
                warm(contender, targets[contender], language, sizes.warm, one("warm"))
                if not isinstance(contender, Emulator):
                    through_boto3(
                        contender, targets[contender], language, sizes.warm // 5, one("boto3")
                    )
                cold(contender, language, sizes.cold, one("cold"))
        print(f"round {round_ + 1} of {sizes.rounds} done, load {load_average()}", flush=True)
    return series


def report(contenders, series):
    rows = [("calls", "function", "server", "n", "wrong", "p50 ms", "p99 ms", "p50 ratio", "p99 ratio")]
    for kind in ("warm", "boto3", "cold"):
        for language in LANGUAGES:
            base = series.get((kind, language, contenders[0]))
            for contender in contenders:
                if kind == "boto3" and isinstance(contender, Emulator):
                    continue
                one = series.get((kind, language, contender))
                if one is None:
                    rows.append((kind, language, contender.name, 0, "-", "-", "-", "-", "-"))
                    continue
                values = [percentile(one.seconds, part) for part in (0.5, 0.99)]
                bases = [percentile(base.seconds, part) for part in (0.5, 0.99)] if base else [None] * 2
                ratios = [f"{v / b:.2f}" if v and b else "-" for v, b in zip(values, bases)]
                rows.append((kind, language, contender.name, len(one.seconds), one.wrong,
                             *map(figure, values), *ratios))  # fmt: skip
    print_table(rows)


def hello_world(contenders, calls):
    """A function that does nothing, called with an empty event, by both clients in turn."""
    contenders = [one for one in contenders if not isinstance(one, Emulator)]
    clients = {}
    for contender in contenders:
        name, connection = contender.hello(), load.Connection(contender.port)
        path = f"/2015-03-31/functions/{name}/invocations"

        def lean(contender=contender, connection=connection, path=path):
            request = contender.signer.request(path, b"{}")
            return connection.timed(request)

        def boto3(contender=contender, name=name):
            start = time.perf_counter()
            answer = contender.client.invoke(FunctionName=name, Payload=b"{}")
            body = answer["Payload"].read()
            return time.perf_counter() - start, answer["StatusCode"], body

        clients[contender] = {"lean": (lean, []), "boto3": (boto3, [])}
    for _ in range(5):
        for contender in contenders:
            for call, seconds in clients[contender].values():
                for _ in range(calls // 5):
                    taken, status, body = call()
                    if (status, body) == (200, b'"hello"'):
                        seconds.append(taken)
    rows = [("hello world", "server", "right", "p50 ms", "p99 ms", "p50 ratio")]
    for client in ("lean", "boto3"):
        base = percentile(clients[contenders[0]][client][1], 0.5)
        for contender in contenders:
            seconds = clients[contender][client][1]
            half = percentile(seconds, 0.5)
            ratio = f"{half / base:.2f}" if half and base else "-"
            rows.append((client, contender.name, f"{len(seconds)}/{calls}", figure(half),
                         figure(percentile(seconds, 0.99)), ratio))  # fmt: skip
    print_table(rows)


def first_calls(contenders, count):
    rows = [("first calls at once", "server", "answered", "p50 ms", "p99 ms", "all ms")]
    for contender in contenders:
        if isinstance(contender, Emulator):
            continue  # It has one environment.
        good, taken = at_once(contender, count)
        rows.append((count, contender.name, f"{len(good)}/{count}", figure(percentile(good, 0.5)),
                     figure(percentile(good, 0.99)), figure(taken)))  # fmt: skip
    print_table(rows)


def many_calls(lamplight, count):
    target = lamplight.fresh("python")
    connection = load.Connection(target[0])
    for _ in range(100):
        connection.timed(lamplight.request(target))
    before, start, series = lamplight.resident(), time.perf_counter(), Series()
    for _ in range(count):
        series.add(*connection.timed(lamplight.request(target)))
    taken, after = time.perf_counter() - start, lamplight.resident()
    connection.close()
    lamplight.discard(target)
    mib = 1 << 20
    print_table([
        ("warm calls in a row", "wrong", "calls/s", "server MiB before", "after", "growth"),
        (count, series.wrong, f"{count / taken:.0f}", f"{before / mib:.1f}", f"{after / mib:.1f}",
         f"{(after - before) / mib:+.1f}"),
    ])  # fmt: skip


def main():
    parser = argparse.ArgumentParser(prog="bench/run", description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="a small run, to see that all works")
    parser.add_argument("--only-lamplight", action="store_true", help="without the others")
    arguments = parser.parse_args()
    sizes = argparse.Namespace(rounds=5, warm=400, cold=20, at_once=64, many=20_000)
    if arguments.quick:
        sizes = argparse.Namespace(rounds=2, warm=50, cold=3, at_once=64, many=1_000)
    print(f"machine: {machine()}\nload before: {load_average()}\nbinary: {place.binary()}\n")
    with contextlib.ExitStack() as stack:
        kinds = [Lamplight] if arguments.only_lamplight else [Lamplight, Emulator, Ministack]
        contenders = [stack.enter_context(kind()) for kind in kinds]
        series = disciplines(contenders, sizes)
        print()
        report(contenders, series)
        hello_world(contenders, sizes.warm * 2)
        first_calls(contenders, sizes.at_once)
        many_calls(contenders[0], sizes.many)
    print(f"load after: {load_average()}")
    print("ratio: of the server's time to Lamplight's in the same run; above 1 is slower than it")


if __name__ == "__main__":
    main()
