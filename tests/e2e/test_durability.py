"""What an answer promises is on the disk; what a crash leaves behind is cleaned up."""

import os
import signal
import sqlite3
import subprocess
from concurrent.futures import ThreadPoolExecutor

import pytest
from harness import code, leftovers, place
from harness.functions import call, deploy, fresh_name
from harness.leftovers import wait_until
from harness.server import clean_environment

HELLO = "def handler(event, context):\n    return {!r}\n"
# kill -9 with this many sandboxes; 50 is the size for a patient machine.
SANDBOXES = int(os.environ.get("LAMPLIGHT_TEST_SANDBOXES", "10"))


def again(server, footprint):
    """Starts a killed server again; nothing of its former life may be left."""
    server.start()
    leftovers.nothing_left(footprint.before_restart())
    return server.client()


def active(client, name):
    client.get_waiter("function_active_v2").wait(FunctionName=name)


def test_created_then_killed(own_server):
    server = own_server()
    client = server.client()
    client.create_function(
        FunctionName="kept", Role="arn:aws:iam::000000000000:role/lambda", Timeout=17,
        Runtime=place.python_runtime(), Handler="app.handler",
        Code={"ZipFile": code.python(HELLO.format("kept"))}, Tags={"a": "b"},
    )  # fmt: skip
    client = again(server, server.kill())
    active(client, "kept")
    got = client.get_function(FunctionName="kept")
    assert (got["Configuration"]["Timeout"], got["Tags"]) == (17, {"a": "b"})
    assert call(client, "kept")[0] == "kept"


def test_updated_then_killed(own_server):
    server = own_server()
    client = server.client()
    name = deploy(client, HELLO.format("old"))
    assert call(client, name)[0] == "old"
    client.update_function_code(FunctionName=name, ZipFile=code.python(HELLO.format("new")))
    client = again(server, server.kill())
    client.get_waiter("function_updated_v2").wait(FunctionName=name)
    assert call(client, name)[0] == "new"

    client.update_function_configuration(FunctionName=name, Description="after the crash")
    client = again(server, server.kill())
    settings = client.get_function_configuration(FunctionName=name)
    assert settings["Description"] == "after the crash"


def test_deleted_then_killed(own_server):
    server = own_server()
    client = server.client()
    name = deploy(client, HELLO.format("gone"))
    client.delete_function(FunctionName=name)
    client = again(server, server.kill())
    with pytest.raises(client.exceptions.ResourceNotFoundException):
        client.get_function(FunctionName=name)


def test_killed_while_functions_are_created(own_server):
    """Each create that was answered is there; one that was cut is there whole or not at all."""
    server = own_server()
    answered = []

    def create(client, number):
        name = f"f{number}"
        try:
            client.create_function(
                FunctionName=name, Role="arn:aws:iam::000000000000:role/lambda",
                Runtime=place.python_runtime(), Handler="app.handler",
                Code={"ZipFile": code.python(HELLO.format(number))},
            )  # fmt: skip
            answered.append(number)
        except Exception:  # The server dies in the middle: any failure is the expected one.
            pass

    with ThreadPoolExecutor(4) as pool:
        client = server.client()
        work = [pool.submit(create, client, number) for number in range(60)]
        wait_until(lambda: len(answered) >= 15, "some answers")
        footprint = server.kill()
        for one in work:
            one.result()
    assert len(answered) < 60, "the server was killed too late for this test to say anything"
    client = again(server, footprint)
    pages = client.get_paginator("list_functions").paginate()
    there = {one["FunctionName"] for page in pages for one in page["Functions"]}
    assert {f"f{number}" for number in answered} <= there
    for name in sorted(there)[:10]:
        active(client, name)
        assert call(client, name)[0] == int(name[1:])


def test_killed_with_running_sandboxes(own_server):
    """F6: nothing of a killed server is left when the next one is ready."""
    server = own_server()
    client = server.client()
    name = deploy(
        client,
        """
        import time
        def handler(event, context):
            print("in the middle of", event, flush=True)
            time.sleep(event)
            return "done"
        """,
        Timeout=120,
    )

    def long_call(_):
        try:
            return call(client, name, 100)
        except Exception as error:  # The connection breaks when the server dies.
            return error

    with ThreadPoolExecutor(SANDBOXES) as pool:
        calls = [pool.submit(long_call, n) for n in range(SANDBOXES)]
        seen = {}

        def all_run():
            seen.update(leftovers.descendants(server.pid))
            return len(leftovers.named(server.pid, "jail-init", "jail-keeper")) >= SANDBOXES

        wait_until(all_run, lambda: f"{SANDBOXES} sandboxes, of {len(seen)} processes", 60)
        footprint = server.kill()
        for one in calls:
            assert isinstance(one.result(), Exception)
    client = again(server, footprint)
    assert call(client, name, 0)[0] == "done"


def test_killed_again_and_again(own_server):
    """Each start after a crash works, also one that is itself cut short."""
    server = own_server()
    name = deploy(server.client(), HELLO.format("still here"))
    for _ in range(5):
        client = again(server, server.kill())
        assert call(client, name)[0] == "still here"
    for _ in range(5):
        server.kill()
        server.launch()
    client = again(server, server.kill())
    assert call(client, name)[0] == "still here"


def test_logs_survive(own_server):
    """G3: lines of answered calls survive a killed server."""
    server = own_server()
    name = deploy(server.client(), "def handler(event, context):\n    print('written down')\n")
    call(server.client(), name)

    def lines():
        logs = server.client("logs")
        try:
            events = logs.filter_log_events(logGroupName=f"/aws/lambda/{name}")["events"]
        except logs.exceptions.ResourceNotFoundException:
            return []
        return [one["message"] for one in events]

    wait_until(lambda: any("written down" in line for line in lines()), "the line")
    server.stop()
    server.start()
    assert any("written down" in line for line in lines())


def test_sigterm_ends_as_cleanly_as_ctrl_c(own_server):
    server = own_server()
    name = deploy(server.client(), HELLO.format("x"))
    call(server.client(), name)
    server.stop(signal.SIGTERM)


def test_end_waits_for_calls_or_answers_them(own_server):
    server = own_server()
    client = server.client()
    name = deploy(client, "import time\ndef handler(e, c):\n    time.sleep(e)\n    return 1\n")
    call(client, name, 0)

    def outcome():
        try:
            return call(client, name, 2)[0]
        except Exception as error:
            return error

    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(outcome)
        server.stop()
        got = running.result(timeout=30)
    assert got == 1 or isinstance(got, Exception)


def test_one_data_directory_has_one_server(own_server):
    server = own_server()
    second = subprocess.run(
        server.command(), env=clean_environment(), capture_output=True, text=True, timeout=30,
        check=False,
    )  # fmt: skip
    assert second.returncode != 0
    assert "in use by another server" in second.stderr
    assert server.client().list_functions()["Functions"] == []


def test_data_of_a_newer_version_is_refused(own_server):
    """Never opened, never changed: whoever goes back a version must not lose what is there."""
    server = own_server()
    deploy(server.client(), HELLO.format("x"), FunctionName=fresh_name())
    server.stop()
    version = server.data_dir / "version"
    databases = [
        path
        for path in server.data_dir.rglob("*")
        if path.is_file() and path.read_bytes()[:16] == b"SQLite format 3\0"
    ]
    if version.exists():
        version.write_text("999\n")
    else:
        assert databases
        for path in databases:
            with sqlite3.connect(path) as database:
                database.execute("PRAGMA user_version = 999")
            database.close()
    before = {path: path.read_bytes() for path in databases}
    done = subprocess.run(
        server.command(), env=clean_environment(), capture_output=True, text=True, timeout=30,
        check=False,
    )  # fmt: skip
    assert done.returncode != 0
    assert "newer" in done.stderr, done.stderr
    assert {path: path.read_bytes() for path in databases} == before


def test_frozen_sandboxes_end_with_a_killed_server(own_server):
    """S2: between calls an environment stands still; it still has to notice that its server is gone."""
    server = own_server()
    client = server.client()
    name = deploy(client, HELLO.format("x"))
    call(client, name)
    runtime = leftovers.with_variable(name)
    assert runtime
    wait_until(lambda: all(leftovers.state(pid) == "T" for pid in runtime), "it stands still")
    footprint = server.kill()
    wait_until(lambda: not leftovers.with_variable(name), "it is gone")
    again(server, footprint)
