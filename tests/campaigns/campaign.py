"""What all campaigns share: their arguments, their bars, and the table they end with.

A campaign does something hostile to a server for a while, counts from outside what that does, and
holds each figure against a bar. It ends with a status other than 0 when a bar breaks.
"""

import argparse
import datetime
import os
import random
import subprocess
import sys
import threading
import time

from harness import aws, code, place
from harness.functions import deploy, fresh_name
from harness.server import Server

# How long something takes on a machine that others use says little: ten times as long will do.
SLACK = 10
ECHO = "def handler(event, context):\n    return event\n"


class Campaign:
    """`with Campaign("c7", "…", tiny=…, pr=…, night=…) as campaign:`; sizes are of any type."""

    def __init__(self, name, what, **sizes):
        parser = argparse.ArgumentParser(prog=name, description=what)
        parser.add_argument("--size", choices=sorted(sizes), default="pr")
        parser.add_argument("--seed", type=int, default=1)
        parser.add_argument("--sabotage", metavar="BUG", help="plant a bug: the campaign must fail")
        parser.add_argument(
            "--strict", action="store_true", help="the machine is quiet: hold bars of time as they are"
        )
        parser.add_argument("--markdown", action="store_true", help="print a table for a page of docs/")
        self.arguments = parser.parse_args()
        self.name, self.what = name, what
        self.size = sizes[self.arguments.size]
        self.random = random.Random(self.arguments.seed)
        self.began = time.monotonic()
        self.rows = []
        self.servers = []

    def __enter__(self):
        return self

    def server(self, *arguments, kind=Server, **settings):
        """A server of the campaign's own; with the bug that was asked for."""
        environment = dict(settings.pop("environment", None) or {})
        if self.arguments.sabotage:
            environment["LAMPLIGHT_FAULTS"] = f"bug:{self.arguments.sabotage}"
        server = kind(*arguments, environment=environment, **settings)
        self.servers.append(server)
        return server.start()

    def bar(self, figure, value, limit, exact=False, timed=False):
        """`value` must not be above `limit`, or must be it where `exact`."""
        limit = limit * SLACK if timed and not self.arguments.strict else limit
        held = value == limit if exact else value <= limit
        self.rows.append((figure, value, ("=" if exact else "≤", limit), held))

    def note(self, figure, value):
        """A figure without a bar."""
        self.rows.append((figure, value, None, True))

    def __exit__(self, kind, error, _):
        left = "nothing"
        for server in self.servers:
            try:
                if kind is None:
                    server.stop()
            except AssertionError as failure:
                left = str(failure)
            finally:
                if kind is not None or left != "nothing":
                    sys.stderr.write(server.log()[-8000:])
                server.discard()
        if kind is not None:
            return False
        self.bar("left after the server's end", left, "nothing", exact=True)
        self.print()
        sys.exit(0 if all(held for *_, held in self.rows) else 1)

    def print(self):
        commit = _said("git", "-C", str(place.ROOT), "describe", "--always", "--dirty") or "unknown"
        now = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC")
        planted = f", planted bug {self.arguments.sabotage}" if self.arguments.sabotage else ""
        print(f"\n{self.name}: {self.what}")
        print(
            f"{now}, commit {commit}, size {self.arguments.size}, seed {self.arguments.seed}, "
            f"{os.cpu_count()} processors, {time.monotonic() - self.began:.0f} s{planted}"
        )
        if self.arguments.markdown:
            print("\n| figure | value | bar |\n|---|---|---|")
            for figure, value, limit, held in self.rows:
                bar = "" if limit is None else f"{limit[0]} {_text(limit[1])}{'' if held else ', broken'}"
                print(f"| {figure} | {_text(value)} | {bar} |")
            return
        for figure, value, limit, held in self.rows:
            mark = "" if limit is None else "ok" if held else "BROKEN"
            bar = "" if limit is None else f"{limit[0]} {_text(limit[1])}"
            print(f"  {figure:<52} {_text(value):>16}  {bar:<16} {mark}")
        sys.stdout.flush()


def _text(value):
    return f"{value:.1f}" if isinstance(value, float) else str(value)


def _said(*command):
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip()


def percentile(values, part):
    """The smallest value that at least `part` of all do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))] if ordered else 0.0


class GoodClient:
    """Calls an innocent function again and again; what it sees is what a neighbour feels."""

    def __init__(self, server, pause=0.02):
        self.client = server.client()
        # A whole processor: with less its own limit would be most of what it feels.
        self.name = deploy(self.client, ECHO, FunctionName=fresh_name("good"), MemorySize=1769)
        self.pause = pause
        self.seconds, self.errors = [], []
        self._stop = threading.Event()
        self._thread = None

    def call(self):
        started = time.monotonic()
        try:
            answer = self.client.invoke(FunctionName=self.name, Payload=b'{"fine": true}')
            if code.payload(answer) != {"fine": True}:
                self.errors.append("wrong answer")
        except Exception as error:  # noqa: BLE001: whatever it is, it is counted
            self.errors.append(repr(error))
        self.seconds.append(time.monotonic() - started)

    def baseline(self, calls=100):
        """p99 of calls while nothing else happens, in milliseconds."""
        self.call()
        self.seconds.clear()
        for _ in range(calls):
            self.call()
        before, self.seconds = self.seconds, []
        return 1000 * percentile(before, 0.99)

    def __enter__(self):
        def run():
            while not self._stop.wait(self.pause):
                self.call()

        self._thread = threading.Thread(target=run)
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        self._thread.join()

    def p99(self):
        return 1000 * percentile(self.seconds, 0.99)


def forget(client, logs, name):
    """Deletes a function and its log group, as somebody does who is done with it."""
    client.delete_function(FunctionName=name)
    try:
        logs.delete_log_group(logGroupName=f"/aws/lambda/{name}")
    except logs.exceptions.ResourceNotFoundException:
        pass


__all__ = ["ECHO", "Campaign", "GoodClient", "aws", "code", "deploy", "forget", "fresh_name",
           "percentile", "place"]  # fmt: skip
