"""Measures calls beside their floors and peers, judges the bars, and writes docs/performance.md.

Rounds are interleaved, so that a busy minute of the machine hits all contenders. Every figure comes
from answers that were checked; wrong ones are counted, never timed.
"""

import argparse
import contextlib
import os
import pathlib
import sys
import traceback

import bars
import meter
import page
import report
from contenders import Chain, Emulator, Lamplight, Ministack
from figures import load_average, machine, percentile, print_table  # noqa: F401  (bench/events)
from harness import place
from measured import burst, cold, memory, payload, warm

PARTS = ("warm", "cold", "payload", "burst", "idle", "rest")
# `seconds` are for each contender, language and number of clients of a round.
FULL = dict(rounds=6, seconds=1.5, cold=7, restarts=12, rest=10, idle=100, idle_rounds=2,
            bursts=(500, 1000), functions=(100, 1000))  # fmt: skip
QUICK = dict(rounds=3, seconds=0.5, cold=4, restarts=4, rest=4, idle=100, idle_rounds=1,
             bursts=(500,), functions=(100,))  # fmt: skip
TINY = dict(rounds=1, seconds=0.05, cold=1, restarts=1, rest=0.2, idle=2, idle_rounds=1,
            bursts=(3,), functions=(3,))  # fmt: skip


def measure(rows, sizes, parts, peers):
    """Adds to `rows` as it goes, so that what fails late takes nothing along."""
    with contextlib.ExitStack() as stack:
        enter = stack.enter_context
        if {"warm", "cold", "payload"} & parts:
            lamplight, chain = enter(Lamplight()), enter(Chain())
            others = [enter(kind()) for kind in (Emulator, Ministack)] if peers else []
        if "warm" in parts:
            contenders = [lamplight, chain, *others]
            if place.isolation() != "process":
                without = enter(Lamplight(isolation="process"))
                # For isolation's share alone: many clients are there to be called in earnest.
                without.clients = (1,)
                contenders.insert(1, without)
            rows += warm.measure(contenders, sizes)
            rows += warm.hops(enter(meter.serving("echo")), sizes)
            rows += warm.through_boto3(contenders, sizes)
        if "cold" in parts:
            rows += cold.measure([lamplight, *others], sizes)
            rows += cold.boto3_imported(lamplight, sizes)
        if "payload" in parts:
            rows += payload.measure([lamplight, chain, *others[:1]], sizes)
    if "cold" in parts:
        rows += cold.after_start(sizes)
    if "rest" in parts:
        rows += memory.at_rest(sizes)
    if "idle" in parts:
        rows += memory.idle_environments(sizes)
    if "burst" in parts:
        for count in sizes.bursts:
            rows.append(burst.one_function(count))
            print(f"burst: {count} of one function", flush=True)
        for count in sizes.functions:
            rows.append(burst.many_functions(count))
            print(f"burst: {count} functions", flush=True)


def main():
    parser = argparse.ArgumentParser(prog="bench/run", description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="a small run of a few minutes")
    parser.add_argument("--tiny", action="store_true", help="only to see that all works")
    parser.add_argument("--only-lamplight", action="store_true", help="with floors, without peers")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--docs", type=pathlib.Path, help="where to write; docs after a whole run, else target/bench")
    arguments = parser.parse_args()
    sizes = argparse.Namespace(**(TINY if arguments.tiny else QUICK if arguments.quick else FULL))
    load = load_average()
    print(f"machine: {machine()}\nload before: {load}\nbinary: {place.binary()}\n", flush=True)
    rows, failed = [], False
    try:
        measure(rows, sizes, set(arguments.only), not arguments.only_lamplight)
    except (Exception, KeyboardInterrupt):
        traceback.print_exc()
        failed = True
    given = page.circumstances(load) | {"command": " ".join(["bench/run", *sys.argv[1:]])}
    judged = bars.judge(rows)
    print()
    print_table([("bar", "measured", "beside it", "ratio", "at most, or at least", "held"), *(
        (one.what, one.value, one.floor, one.ratio, one.bar, {True: "yes", False: "NO", None: "?"}[one.held])
        for one in judged
    )])  # fmt: skip
    for row in rows:
        if row.get("wrong") or row.get("left"):
            print("wrong or left:", row)
    whole = not failed and not (arguments.tiny or arguments.quick) and set(arguments.only) == set(PARTS)
    docs = arguments.docs or (page.DOCS if whole else place.ROOT / "target" / "bench")
    page.write("calls", report.section(rows, given), {"version": 1, **given, "rows": rows}, report.drawings(rows), docs)
    print(f"load after: {load_average()}")
    sys.exit(failed)


if __name__ == "__main__":
    os.umask(0o022)
    main()
