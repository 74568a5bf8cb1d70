"""Isolation `process`: none, for a developer's own code on loopback. It says so, and it works."""

import subprocess
from concurrent.futures import ThreadPoolExecutor

import pytest
from harness import code, leftovers, place
from harness.functions import call, deploy, fresh_name
from harness.leftovers import wait_until
from harness.server import Server, clean_environment


@pytest.fixture(scope="module")
def client():
    with Server(isolation="process") as server:
        yield server.client()


def test_other_addresses_are_refused(tmp_path):
    done = subprocess.run(
        [place.binary(), "serve", "--data-dir", tmp_path / "data", "--listen", "0.0.0.0:0",
         "--isolation", "process"],
        env=clean_environment(), capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    assert done.returncode != 0
    assert "loopback" in done.stderr


def test_python(client):
    name = deploy(client, "def handler(event, context):\n    return event\n",
                  FunctionName=fresh_name())  # fmt: skip
    assert [call(client, name, number)[0] for number in range(5)] == list(range(5))


@pytest.mark.skipif(place.node_runtime() is None, reason="no node on this machine")
def test_node(client):
    name = deploy(
        client, code.node("export const handler = async (event) => event;\n"),
        FunctionName=fresh_name(), Runtime=place.node_runtime(), Handler="index.handler",
    )  # fmt: skip
    assert call(client, name, {"a": 1})[0] == {"a": 1}


def test_provided(client):
    program = place.rust_example()
    if program is None:
        pytest.skip("examples/rust is not built: cargo build --release in that directory")
    name = deploy(
        client, code.bootstrap(program.read_bytes()), FunctionName=fresh_name(),
        Runtime="provided.al2023", Handler="any",
    )  # fmt: skip
    payload, answer = call(client, name, {"Records": []})
    assert payload["errorMessage"] == "the event has no records"
    assert answer["FunctionError"] == "Unhandled"


def test_parallel_calls(client):
    name = deploy(client, "def handler(event, context):\n    return event\n",
                  FunctionName=fresh_name())  # fmt: skip
    with ThreadPoolExecutor(16) as pool:
        assert list(pool.map(lambda n: call(client, name, n)[0], range(16))) == list(range(16))


def test_timeout_and_its_children(client):
    """S1, S2: in process mode too, children go with their call."""
    name = deploy(
        client,
        """
        import os
        def handler(event, context):
            for _ in range(5):
                if os.fork() == 0:
                    os.execv("/bin/sh", ["sh", "-c", "while :; do :; done # burn-in-process-mode"])
            while True:
                pass
        """,
        FunctionName=fresh_name(), Timeout=1,
    )  # fmt: skip
    payload, _ = call(client, name)
    assert payload["errorType"] == "Sandbox.Timedout"

    def burning():
        return [
            pid
            for pid in leftovers.processes()
            if "burn-in-process-mode" in leftovers.command_line(pid)
        ]

    wait_until(lambda: not burning(), lambda: f"the end of {burning()}")


def test_the_log_says_what_the_mode_is(own_server):
    server = own_server(isolation="process")
    assert "isolation" in server.log()


def test_killed_server_leaves_no_functions(own_server):
    server = own_server(isolation="process")
    client = server.client()
    name = deploy(client, "def handler(event, context):\n    return 1\n")
    call(client, name)
    footprint = server.kill()
    server.start()
    leftovers.nothing_left(footprint.before_restart())
    assert call(server.client(), name)[0] == 1
