"""The servers that are compared: each starts, deploys the same functions, and ends by itself.

A contender has `name`, `languages`, and for each language gives a fresh target (never called) and
the bytes of a request to it. Nothing here is timed.
"""

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
from harness import code, place
from harness.server import Server, clean_environment

EVENT = (place.EXAMPLES / "events" / "s3-put.json").read_bytes()
EXPECTED = {"statusCode": 200, "body": '"lamp-post"'}
LANGUAGES = ("python", "node", "rust")


HELLO = "def handler(event, context):\n    return 'hello'\n"


def package(language):
    """(zip file, runtime, handler) of an example."""
    if language == "python":
        return code.zipped(code.tree(place.EXAMPLES / "python", "app.py")), \
            place.python_runtime(), "app.lambda_handler"  # fmt: skip
    if language == "node":
        return code.zipped(code.tree(place.EXAMPLES / "nodejs", "index.mjs")), \
            place.node_runtime(), "index.handler"  # fmt: skip
    return code.bootstrap(place.rust_example().read_bytes()), "provided.al2023", "bootstrap"


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def wait_for_port(port, process, seconds=60):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if process.poll() is not None:
            raise RuntimeError(f"{process.args[0]} ended with {process.returncode}")
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.02)
    raise RuntimeError(f"{process.args[0]} does not listen on {port}")


class Api:
    """What Lamplight and ministack have in common: the Lambda API."""

    def __init__(self):
        self.count = 0

    def deploy(self, language, memory=256):
        """A function that was never called; returns its name."""
        self.count += 1
        name = f"bench-{language}-{self.count}"
        zipped, runtime, handler = package(language)
        self.client.create_function(
            FunctionName=name, Runtime=runtime, Handler=handler, Timeout=30, MemorySize=memory,
            Role="arn:aws:iam::000000000000:role/lambda", Code={"ZipFile": zipped},
        )  # fmt: skip
        self.client.get_waiter("function_active_v2").wait(
            FunctionName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 60}
        )
        return name

    def fresh(self, language):
        return self.port, self.deploy(language)

    def hello(self):
        """The smallest function there is; returns its name. It has been called."""
        self.client.create_function(
            FunctionName="hello-world", Runtime=place.python_runtime(), Handler="app.handler",
            Role="arn:aws:iam::000000000000:role/lambda", Code={"ZipFile": code.python(HELLO)},
        )  # fmt: skip
        self.client.get_waiter("function_active_v2").wait(FunctionName="hello-world")
        self.client.invoke(FunctionName="hello-world", Payload=b"{}")
        return "hello-world"

    def request(self, target):
        return self.signer.request(f"/2015-03-31/functions/{target[1]}/invocations", EVENT)

    def discard(self, target):
        self.client.delete_function(FunctionName=target[1])

    def connect(self, endpoint, key, secret):
        self.signer = load.Signer(self.port, key, secret)
        self.client = boto3.session.Session().client(
            "lambda", endpoint_url=endpoint, region_name="us-east-1", aws_access_key_id=key,
            aws_secret_access_key=secret,
            config=botocore.config.Config(retries={"total_max_attempts": 1}),
        )  # fmt: skip


class Lamplight(Api):
    """A release build with its sandboxes and signatures on."""

    languages = LANGUAGES

    def __init__(self):
        super().__init__()
        self.name = f"lamplight ({place.isolation()})"

    def __enter__(self):
        self.server = Server().start()
        self.port = self.server.port
        access = self.server.access()
        self.connect(access.endpoint, access.key, access.secret)
        return self

    def __exit__(self, *_):
        try:
            self.server.stop()
        finally:
            self.server.discard()

    def resident(self):
        """Bytes of the server's own memory."""
        pages = pathlib.Path(f"/proc/{self.server.pid}/statm").read_text().split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE")


class Ministack(Api):
    """Runs Python and Node functions as processes of its own; others need Docker there."""

    name = "ministack"
    languages = ("python", "node")

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

    def __init__(self):
        machine = {"x86_64": "x86_64", "aarch64": "arm64"}[platform.machine()]
        here = pathlib.Path(sys.prefix)
        found = list(here.glob(f"lib/*/site-packages/samcli/local/rapid/aws-lambda-rie-{machine}"))
        if not found:
            raise RuntimeError("the emulator's binary is not in aws-sam-cli any more")
        self.binary = found[0]
        client = place.NODE_MODULES / "aws-lambda-ric" / "bin" / "index.mjs"
        self.commands = {
            "python": [[sys.executable, "-m", "awslambdaric", "app.lambda_handler"], "python"],
            "node": [["node", str(client), "index.handler"], "nodejs"],
            "rust": [[str(place.rust_example())], "rust"],
        }
        self.languages = [
            one for one in LANGUAGES
            if one != "node" or (client.parent.parent / "dist" / "rapid-client.node").exists()
        ]  # fmt: skip

    def __enter__(self):
        self.processes = {}
        self.binary.chmod(0o755)
        return self

    def __exit__(self, *_):
        for process in self.processes.values():
            end_group(process)

    def fresh(self, language):
        """The emulator starts the runtime at its first call: a new emulator is a cold function."""
        command, directory = self.commands[language]
        port = free_port()
        process = subprocess.Popen(
            [self.binary, "--runtime-interface-emulator-address", f"127.0.0.1:{port}",
             "--runtime-api-address", f"127.0.0.1:{free_port()}", *command],
            cwd=place.EXAMPLES / directory,
            env={**clean_environment(), "AWS_LAMBDA_FUNCTION_TIMEOUT": "30",
                 "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "256", "LAMBDA_TASK_ROOT": ".",
                 "PYTHONPATH": ""},
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            start_new_session=True,
        )  # fmt: skip
        self.processes[port] = process
        wait_for_port(port, process)
        return port, None

    def request(self, target):
        return load.plain(target[0], "/2015-03-31/functions/function/invocations", EVENT)

    def discard(self, target):
        end_group(self.processes.pop(target[0]))


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


def right(status, body):
    """Whether an answer is the handler's."""
    try:
        return status == 200 and json.loads(body) == EXPECTED
    except ValueError:
        return False
