"""Servers and functions for the scenarios.

`server` is shared by a whole run; `own_server` makes one that a test may hurt. Every server is
ended with SIGINT and has to leave nothing behind. The log of each server that a failed test used
is shown with the failure.
"""

import pytest
from harness import aws, code
from harness.functions import deploy, fresh_name, run_inside
from harness.server import Server

_servers = []


def _new(*arguments, **settings):
    server = Server(*arguments, **settings)
    _servers.append(server)
    return server


def _end(server):
    try:
        server.stop()
    finally:
        server.discard()
        _servers.remove(server)


@pytest.fixture(scope="session")
def server():
    server = _new(environment={"LAMPLIGHT_TEST_CANARY": "not for functions"})
    try:
        server.start()
    except BaseException:
        server.discard()
        raise
    yield server
    _end(server)


@pytest.fixture
def own_server():
    """A maker of servers: `own_server(*arguments, isolation=…, config=…, start=True)`."""
    made = []

    def make(*arguments, start=True, **settings):
        server = _new(*arguments, **settings)
        made.append(server)
        return server.start() if start else server

    yield make
    for server in made:
        _end(server)


@pytest.fixture(scope="module")
def servers():
    """A maker of servers that the tests of a file share."""
    made = []

    def make(*arguments, **settings):
        made.append(_new(*arguments, **settings))
        return made[-1].start()

    yield make
    for server in made:
        _end(server)


@pytest.fixture(scope="session")
def access(server):
    return server.access()


@pytest.fixture(scope="session")
def client(access):
    return aws.client(access)


@pytest.fixture(scope="session")
def logs(access):
    return aws.client(access, "logs")


@pytest.fixture
def function(client):
    """A maker of functions on the shared server: `function(source or zip, **settings)`."""
    made = []

    def make(package, **settings):
        settings.setdefault("FunctionName", fresh_name())
        made.append(settings["FunctionName"])
        return deploy(client, package, **settings)

    yield make
    for name in made:
        try:
            client.delete_function(FunctionName=name)
        except client.exceptions.ResourceNotFoundException:
            pass


@pytest.fixture(scope="module")
def probe(client):
    """A function per module whose handler runs what it is told: see `run_inside`."""
    name = deploy(client, code.PROBE, FunctionName=fresh_name("probe"), MemorySize=256)
    yield lambda python: run_inside(client, name, python)
    client.delete_function(FunctionName=name)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item):
    item.log_offsets = {id(server): _size(server) for server in _servers}
    return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    if report.failed:
        for server in _servers:
            text = server.log(getattr(item, "log_offsets", {}).get(id(server), 0))
            report.sections.append((f"log of the server {server.data_dir}", text[-20_000:]))
    return report


def _size(server):
    return server.log_path.stat().st_size if server.log_path.exists() else 0
