"""The points at which a server can be made to fail: all are passed, and failing there is survived."""

import os
import pathlib
import re
import subprocess

import pytest
from harness import place
from harness.functions import call, deploy, fresh_name
from harness.leftovers import wait_until
from harness.server import Server

ECHO = "def handler(event, context):\n    return event\n"
# What one call of one function passes.
POINTS = {"store.commit", "store.committed", "sandbox.launch", "sandbox.launched",
          "sandbox.destroy", "invoke.answered"}  # fmt: skip


@pytest.fixture(scope="module")
def binary():
    """A server that can fail on purpose, as `cargo xtask campaign --sabotage` builds it."""
    given = os.environ.get("LAMPLIGHT_BIN_WITH_FAULTS")
    if given:
        return pathlib.Path(given)
    built = place.ROOT / "target" / "faults" / "lamplight"
    command = ["cargo", "xtask", "campaign", "c9", "--size", "tiny", "--sabotage", "follow-dots"]
    subprocess.run(command, cwd=place.ROOT, capture_output=True, check=False, timeout=800)
    return built


@pytest.fixture
def faulty(binary):
    made = []

    def make(faults, data_dir=None):
        server = Server(data_dir=data_dir, environment={"LAMPLIGHT_FAULTS": faults})
        server.binary = binary
        made.append(server)
        return server.start()

    yield make
    for server in made:
        server.discard()


@pytest.mark.timeout(900)
def test_every_point_is_passed(faulty):
    server = faulty("store.commit=wait:0")
    client = server.client()
    name = deploy(client, ECHO, FunctionName=fresh_name())
    assert call(client, name, 1)[0] == 1
    server.stop()
    passed = {
        point: int(times)
        for point, times in re.findall(r'point="([\w.]+)" times=(\d+)', server.log())
    }
    assert {point for point in POINTS if not passed.get(point)} == set(), passed


@pytest.mark.timeout(900)
def test_a_sandbox_that_cannot_be_built_fails_one_call(faulty):
    for point in ("sandbox.launch", "sandbox.launched"):
        server = faulty(f"{point}=error@1")
        client = server.client()
        name = deploy(client, ECHO, FunctionName=fresh_name())
        with pytest.raises(client.exceptions.ServiceException):
            call(client, name, 1)
        assert call(client, name, 2)[0] == 2
        server.stop()


@pytest.mark.timeout(900)
def test_a_failed_sync_ends_the_server_and_loses_nothing(faulty):
    server = faulty("store.committed=error@12")
    client = server.client()
    answered = []
    with pytest.raises(Exception):  # noqa: B017: the store fails, or the server is gone
        for n in range(20):
            name = f"kept-{n}"
            deploy(client, ECHO, FunctionName=name, wait=False)
            answered.append(name)
    assert answered
    wait_until(lambda: server.process.poll() is not None, "the server's end", 40)
    assert server.process.returncode != 0
    server.environment = {}
    server.start()
    there = {f["FunctionName"] for f in server.client().list_functions()["Functions"]}
    assert set(answered) <= there
    server.stop()


@pytest.mark.timeout(900)
def test_a_kill_between_commit_and_answer_loses_nothing(faulty):
    server = faulty("store.committed=kill@12")
    client = server.client()
    answered = []
    with pytest.raises(Exception):  # noqa: B017: the connection ends with the server
        for n in range(20):
            deploy(client, ECHO, FunctionName=f"kept-{n}", wait=False)
            answered.append(f"kept-{n}")
    server.process.wait(20)
    server.environment = {}
    server.start()
    there = {f["FunctionName"] for f in server.client().list_functions()["Functions"]}
    assert set(answered) <= there
    server.stop()
