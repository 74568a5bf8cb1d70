"""The servers that are compared: each starts, deploys the same function, and ends by itself.

The function answers with its event, in Python, Node and Rust. A contender has `name`, `languages`,
and for each language gives a fresh target (never called) and the bytes of a request to it. Nothing
here is timed.
"""

import contextlib
import functools
import json
import os
import pathlib
import platform
import signal
import socket
import subprocess
import sys
import tempfile
import time

import boto3
import botocore.config
import load
import meter
from harness import aws, code, place
from harness.leftovers import descendants, wait_until
from harness.server import Server, clean_environment

EVENT = b'{"lamp": "post", "street": 7, "lit": true, "seen": [1, 2, 3]}'
LANGUAGES = ("rust", "python", "node")
HERE = pathlib.Path(__file__).resolve().parent / "echo"
NODE_CLIENT = place.NODE_MODULES / "aws-lambda-ric" / "bin" / "index.mjs"
FUNCTIONS = "/2015-03-31/functions"


@functools.cache
def rust_echo():
    """The built `echo` of examples/rust."""
    target = place.EXAMPLES / "rust" / "target"
    found = [*target.glob("*/release/examples/echo"), *target.glob("release/examples/echo")]
    if not found:
        raise FileNotFoundError("examples/rust has no built example `echo`: start this by bench/run")
    return max(found, key=lambda path: path.stat().st_mtime)


def python():
    """The interpreter that functions get, where it can use the packages that are installed here."""
    ours = "python" + ".".join(map(str, sys.version_info[:2]))
    return "/usr/bin/python3" if place.python_runtime() == ours else sys.executable


@functools.cache
def package(language, mark=""):
    """(zip file, runtime, handler). Another `mark` makes other bytes of the same code."""
    more = {"mark": mark}
    if language == "python":
        return code.zipped({**code.tree(HERE, "app.py"), **more}), place.python_runtime(), "app.handler"
    if language == "node":
        return code.zipped({**code.tree(HERE, "index.mjs"), **more}), place.node_runtime(), "index.handler"
    return code.bootstrap(rust_echo().read_bytes(), more), "provided.al2023", "bootstrap"


def command(language):
    """The official runtime client with the function, for who starts it as a plain process."""
    return {
        "python": [python(), "-m", "awslambdaric", "app.handler"],
        "node": ["node", str(NODE_CLIENT), "index.handler"],
        "rust": [str(rust_echo())],
    }[language]


def plain_environment():
    """Of the official clients: our site-packages, and nothing else of this process's."""
    packages = next(pathlib.Path(sys.prefix).glob("lib/python3*/site-packages"))
    return {**clean_environment(), "LAMBDA_TASK_ROOT": ".", "_HANDLER": "index.handler",
            "PYTHONPATH": str(packages), "PYTHONDONTWRITEBYTECODE": ""}  # fmt: skip


def official_languages():
    native = NODE_CLIENT.parent.parent / "dist" / "rapid-client.node"
    return [one for one in LANGUAGES if one != "node" or native.exists()]


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def wait_for_port(port, process, seconds=60):
    def listens():
        if process.poll() is not None:
            raise RuntimeError(f"{process.args[0]} ended with {process.returncode}")
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", port), 1).close()
            return True

    wait_until(listens, f"{process.args[0]} to listen on {port}", seconds)


class Api:
    """What Lamplight and ministack have in common: the Lambda API."""

    clients = (1, 32, 64)

    def __init__(self):
        self.count = 0

    def create(self, language, called=None, **settings):
        self.count += 1
        name = called or f"bench-{language}-{self.count}"
        zipped, runtime, handler = package(language, settings.pop("mark", ""))
        architecture = {"Architectures": [place.architecture()]} if place.architecture() != "x86_64" else {}
        self.client.create_function(**{
            "FunctionName": name, "Runtime": runtime, "Handler": handler, "Timeout": 60,
            "MemorySize": 256, "Role": aws.ROLE, "Code": {"ZipFile": zipped}, **architecture, **settings,
        })  # fmt: skip
        return name

    def active(self, name, seconds=60):
        def settled():
            found = self.client.get_function_configuration(FunctionName=name)
            return found["State"] == "Active" and found.get("LastUpdateStatus") != "InProgress"

        wait_until(settled, f"{name} to be active", seconds)
        return name

    def fresh(self, language):
        return self.port, self.active(self.create(language))

    def request(self, target, event=EVENT):
        return self.signer.request(f"{FUNCTIONS}/{target[1]}/invocations", event)

    def discard(self, target):
        self.client.delete_function(FunctionName=target[1])

    def connect(self, endpoint, key, secret):
        self.signer = load.Signer(self.port, key, secret)
        self.client = boto3.session.Session().client(
            "lambda", endpoint_url=endpoint, region_name="us-east-1", aws_access_key_id=key,
            aws_secret_access_key=secret,
            config=botocore.config.Config(retries={"total_max_attempts": 1}, read_timeout=120),
        )  # fmt: skip


class Lamplight(Api):
    """A release build, with signatures, policies, counting and logs on."""

    languages = LANGUAGES

    def __init__(self, isolation=None, config=None):
        super().__init__()
        self.isolation, self.config = isolation or place.isolation(), config
        self.name = f"Lamplight ({self.isolation})"

    def __enter__(self):
        self.server = Server(isolation=self.isolation, config=self.config)
        try:
            self.server.start()
            self.port = self.server.port
            access = self.server.access()
            self.connect(access.endpoint, access.key, access.secret)
        except BaseException:
            self.server.discard()
            raise
        return self

    def __exit__(self, kind, *_):
        try:
            if kind is None:
                self.server.stop()
        finally:
            self.server.discard()

    def settle(self):
        """Until the server starts and ends nothing any more: whatever it keeps ready is ready."""
        seen = []

        def same():
            seen.append(frozenset(descendants(self.server.pid)))
            return len(seen) >= 5 and len(set(seen[-5:])) == 1

        wait_until(same, "the server's processes to stay the same", 30)


class Ministack(Api):
    """Runs Python and Node functions as processes of its own; others need Docker there."""

    name = "ministack"
    languages = ("python", "node")
    # It starts a process for each client, and 64 of them tell no more than 32.
    clients = (1, 32)

    def __enter__(self):
        self.port = free_port()
        self.home = tempfile.TemporaryDirectory(prefix="bench-ministack-")
        self.process = subprocess.Popen(
            [pathlib.Path(sys.executable).with_name("ministack")], cwd=self.home.name,
            env={**clean_environment(), "GATEWAY_PORT": str(self.port), "HOME": self.home.name},
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            start_new_session=True,
        )  # fmt: skip
        wait_for_port(self.port, self.process)
        self.connect(f"http://127.0.0.1:{self.port}", "test", "test")
        return self

    def __exit__(self, *_):
        end_group(self.process)
        self.home.cleanup()


class Emulator:
    """The Runtime Interface Emulator: one function, one environment, no API around it."""

    name = "RIE + official client"
    clients = (1,)

    def __init__(self):
        machine = {"x86_64": "x86_64", "aarch64": "arm64"}[platform.machine()]
        here = pathlib.Path(sys.prefix)
        found = list(here.glob(f"lib/*/site-packages/samcli/local/rapid/aws-lambda-rie-{machine}"))
        if not found:
            raise RuntimeError("the emulator's binary is not in aws-sam-cli any more")
        self.binary = found[0]
        self.languages = official_languages()

    def __enter__(self):
        self.processes = {}
        self.binary.chmod(0o755)
        return self

    def __exit__(self, *_):
        for process in self.processes.values():
            end_group(process)

    def fresh(self, language):
        """The emulator starts the runtime at its first call: a new emulator is a cold function."""
        port = free_port()
        process = subprocess.Popen(
            [self.binary, "--runtime-interface-emulator-address", f"127.0.0.1:{port}",
             "--runtime-api-address", f"127.0.0.1:{free_port()}", *command(language)],
            cwd=HERE,
            env={**plain_environment(), "AWS_LAMBDA_FUNCTION_TIMEOUT": "30",
                 "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "256"},
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            start_new_session=True,
        )  # fmt: skip
        self.processes[port] = process
        wait_for_port(port, process)
        return port, None

    def request(self, target, event=EVENT):
        return load.plain(target[0], f"{FUNCTIONS}/function/invocations", event)

    def discard(self, target):
        end_group(self.processes.pop(target[0]))


class Chain:
    """The floor: front, idle queue, Runtime API and the official clients, and nothing else."""

    name = "bare chain"
    clients = (1, 32, 64)
    environments = 4

    def __init__(self):
        self.languages = official_languages()

    def __enter__(self):
        self.stack = contextlib.ExitStack()
        return self

    def __exit__(self, *_):
        self.stack.close()

    def fresh(self, language):
        running = meter.serving("chain", "--environments", self.environments, "--", *command(language),
                                cwd=HERE, env=plain_environment())  # fmt: skip
        return self.stack.enter_context(running), None

    def request(self, target, event=EVENT):
        return load.plain(target[0], "/", event)


def end_group(process):
    """Ends a child and the processes it started, which share its session."""
    for how in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, how)
        except ProcessLookupError:
            break
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            continue
    process.wait()


def right_answer(contender, target, event=EVENT):
    """Calls once and gives the answer's bytes, which have to say what the event says."""
    connection = load.Connection(target[0])
    end = time.monotonic() + 30
    while True:
        _, status, body = connection.timed(contender.request(target, event))
        if status == 200 and json.loads(body) == json.loads(event):
            connection.close()
            return body
        if time.monotonic() > end:
            raise RuntimeError(f"{contender.name} answers {status} {body[:300]}")
