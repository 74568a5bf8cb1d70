"""What one warm call costs the server: instructions in user space, and system calls.

The server is prepared without valgrind (functions are made and called), then started again on the
same data under `callgrind`, which counts between two marks, and once more beside `strace -c`. What
the function itself does in its sandbox is not counted. Hashing is done in software under valgrind,
which most processors do faster. Run it as `bench/instructions`.
"""

import argparse
import json
import pathlib
import re
import signal
import subprocess
import tempfile

import load
from harness import code, place
from harness.server import Server

HELLO = "def handler(event, context):\n    return 'hello'\n"
EVENT = (place.EXAMPLES / "events" / "s3-put.json").read_bytes()
BEFORE = 50


def functions():
    """[(name, package, runtime, handler, event)]: the smallest one, and one that prints."""
    found = [("python", code.python(HELLO), place.python_runtime(), "app.handler", b"{}")]
    if place.rust_example() is not None:
        package = code.bootstrap(place.rust_example().read_bytes())
        found.append(("rust", package, "provided.al2023", "bootstrap", EVENT))
    return found


class Caller:
    def __init__(self, server):
        access = server.access()
        self.signer = load.Signer(server.port, access.key, access.secret)
        self.connection = load.Connection(server.port)

    def call(self, name, event, count):
        path = f"/2015-03-31/functions/{name}/invocations"
        for _ in range(count):
            _, status, body = self.connection.timed(self.signer.request(path, event))
            assert status == 200, body


def prepare(server):
    client = server.client()
    for name, package, runtime, handler, event in functions():
        client.create_function(
            FunctionName=name, Runtime=runtime, Handler=handler, Timeout=60, MemorySize=256,
            Role="arn:aws:iam::000000000000:role/lambda", Code={"ZipFile": package},
        )  # fmt: skip
        client.get_waiter("function_active_v2").wait(FunctionName=name)
        Caller(server).call(name, event, 1)


class Counted(Server):
    """The same server under callgrind."""

    output = None

    def command(self):
        callgrind = ["--tool=callgrind", "--instr-atstart=no", f"--callgrind-out-file={self.output}"]
        return ["valgrind", "-q", *callgrind, *super().command()]


def instructions(binary, home, name, event, count):
    with tempfile.TemporaryDirectory() as scratch:
        server = Counted(data_dir=home)
        server.binary, server.output = binary, pathlib.Path(scratch) / "counted"

        def mark(state):
            command = ["callgrind_control", "-i", state, str(server.pid)]
            subprocess.run(command, check=True, capture_output=True)

        server.start()
        try:
            caller = Caller(server)
            caller.call(name, event, BEFORE)
            mark("on")
            caller.call(name, event, count)
            mark("off")
            server.process.send_signal(signal.SIGINT)
            server.process.wait(120)
        finally:
            if server.process.poll() is None:
                server.process.kill()
                server.process.wait()
        return int(re.search(r"^totals: (\d+)", server.output.read_text(), re.M)[1]) / count


def system_calls(binary, home, name, event, count):
    """{name: of one call}"""
    with tempfile.TemporaryDirectory() as scratch:
        server, output = Server(data_dir=home), pathlib.Path(scratch) / "calls"
        server.binary = binary
        server.start()
        try:
            caller = Caller(server)
            caller.call(name, event, BEFORE)
            command = ["strace", "-f", "-c", "-o", output, "-p", str(server.pid)]
            tracer = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
            # It says so once all threads are traced.
            assert "attached" in tracer.stderr.readline()
            caller.call(name, event, count)
            tracer.send_signal(signal.SIGINT)
            tracer.wait()
        finally:
            server.stop()
        rows = [line.split() for line in output.read_text().splitlines()]
        rows = [row for row in rows if len(row) >= 5 and row[3].isdigit() and row[-1] != "total"]
        return {row[-1]: int(row[3]) / count for row in rows}


def main():
    parser = argparse.ArgumentParser(prog="bench/instructions", description=__doc__.split("\n")[0])
    parser.add_argument("binaries", nargs="*", type=pathlib.Path, help="else the newest build")
    parser.add_argument("--calls", type=int, default=500)
    parser.add_argument("--json", action="store_true", help="one line for other programs")
    arguments = parser.parse_args()
    for binary in arguments.binaries or [place.binary()]:
        server = Server()
        server.binary = binary.resolve()
        try:
            server.start()
            prepare(server)
            server.stop()
            for name, *_, event in functions():
                of_it = (server.binary, server.home, name, event, arguments.calls)
                counted, calls = instructions(*of_it), system_calls(*of_it)
                report(binary, name, counted, calls, arguments.json)
        finally:
            server.discard()


def report(binary, name, counted, calls, as_json):
    calls = {call: round(count, 2) for call, count in calls.items() if count >= 0.05}
    if as_json:
        print(json.dumps({"binary": str(binary), "function": name, "calls": calls,
                          "instructions": round(counted)}))  # fmt: skip
        return
    each = ", ".join(f"{call} {count:.1f}" for call, count in calls.items())
    print(f"{binary}: a warm call of the {name} function: {counted:,.0f} instructions, "
          f"{sum(calls.values()):.1f} system calls ({each})")  # fmt: skip


if __name__ == "__main__":
    main()
