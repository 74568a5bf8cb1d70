"""The program of bench/meter: the load generator and the floors, as Python calls.

Nothing is timed on this side: times come from the program, in seconds here.
"""

import contextlib
import dataclasses
import json
import os
import pathlib
import struct
import subprocess
import tempfile

from figures import percentile
from harness import place
from harness.server import clean_environment

SECOND = 1e9


def binary():
    """$BENCH_METER, else the newest release build."""
    chosen = os.environ.get("BENCH_METER")
    if chosen:
        return pathlib.Path(chosen).resolve()
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", place.ROOT / "target"))
    found = [*target.glob("*/release/meter"), *target.glob("release/meter")]
    if not found:
        raise FileNotFoundError("no meter: run `cargo build --release --package meter`")
    return max(found, key=lambda path: path.stat().st_mtime)


@dataclasses.dataclass
class Run:
    """What a load came to."""

    seconds: list
    wrong: int = 0
    example: str | None = None
    wall: float = 0
    started: float = 0
    bodies: list = dataclasses.field(default_factory=list)

    def add(self, other):
        """One more of the same: a later round."""
        self.seconds += other.seconds
        self.wrong += other.wrong
        self.example = self.example or other.example
        self.wall += other.wall

    def figures(self):
        return {
            "n": len(self.seconds), "wrong": self.wrong, "example": self.example,
            # What it takes when nobody else wants the processor; on a busy machine the rest is waiting.
            "p10": percentile(self.seconds, 0.1), "p50": percentile(self.seconds, 0.5), "p99": percentile(self.seconds, 0.99),
            "rate": len(self.seconds) / self.wall if self.wall else None,
        }  # fmt: skip


def load(port, requests, clients=1, each=None, seconds=None, expect=None, bodies=False):
    """Sends whole HTTP requests; only a 200 with the body `expect`, if one is given, is right."""
    with tempfile.TemporaryDirectory(prefix="bench-load-") as directory:
        path = pathlib.Path(directory, "requests")
        with open(path, "wb") as file:
            for request in requests:
                file.write(struct.pack("<I", len(request)) + request)
        command = ["load", "--port", port, "--clients", clients, "--requests", path]
        command += ["--each", each] if each is not None else ["--seconds", seconds]
        if expect is not None:
            path.with_name("expect").write_bytes(expect)
            command += ["--expect", path.with_name("expect")]
        if bodies:
            command += ["--bodies"]
        said = told(*command)
    return Run(
        [taken / SECOND for taken in said["nanoseconds"]], said["wrong"], said["example"],
        said["wall"] / SECOND, said["started_ms"] / 1000, said["bodies"],
    )  # fmt: skip


def told(*arguments, cwd=None, env=None):
    """Runs a subcommand to its end; what it printed."""
    command = [str(binary()), *map(str, arguments)]
    done = subprocess.run(
        command, cwd=cwd, env=env or clean_environment(), stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, check=True,
    )  # fmt: skip
    return json.loads(done.stdout)


def times(*arguments, field="nanoseconds", **settings):
    return [taken / SECOND for taken in told(*arguments, **settings)[field]]


@contextlib.contextmanager
def serving(*arguments, cwd=None, env=None):
    """Runs a subcommand that serves; gives its port."""
    process = subprocess.Popen(
        [str(binary()), *map(str, arguments)], cwd=cwd, env=env or clean_environment(),
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        line = process.stdout.readline()
        if not line:
            raise RuntimeError(f"meter {arguments[0]} ended with {process.wait()}")
        yield int(line)
    finally:
        # It ends with its input, and takes along what it started.
        process.stdin.close()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()
