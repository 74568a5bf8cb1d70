"""Python functions that are forked from a zygote, and those that must not be."""

import os
import signal

import pytest
from harness import code, leftovers, place
from harness.functions import call, deploy
from harness.leftovers import wait_until

pytestmark = pytest.mark.skipif(
    place.isolation() != "namespaces" or os.geteuid() != 0, reason="zygotes need namespaces and root's rights"
)

# The kernel's word on who executed this process: the server's user means that it was forked.
FORKED = """
import struct
def was_forked():
    with open("/proc/self/auxv", "rb") as file:
        return dict(struct.iter_unpack("QQ", file.read()))[11] == 0
"""
PLAIN = FORKED + """
import os, queue, sys
def handler(event, context):
    return {"forked": was_forked(), "queue": queue.__file__, "stage": os.environ.get("STAGE"),
            "executable": sys.executable, "path": sys.path, "modules": "asyncio" in sys.modules}
"""


def zygotes(server):
    ours = leftovers.descendants(server.pid)
    found = []
    for pid in ours:
        try:
            with open(f"/proc/{pid}/environ", "rb") as file:
                found += [pid] if b"_LAMPLIGHT_ZYGOTE=" in file.read() else []
        except OSError:
            pass
    return found


@pytest.fixture
def warm(own_server):
    """A server whose zygote is up."""
    server = own_server()
    client = server.client()
    call(client, deploy(client, PLAIN))

    def forks():
        return call(client, deploy(client, PLAIN))[0]["forked"]

    wait_until(forks, "a start to be a fork")
    return server, client


def test_functions_that_mean_something_else_are_executed(warm):
    _, client = warm
    plain, _ = call(client, deploy(client, PLAIN, Environment={"Variables": {"STAGE": "test"}}))
    assert (plain["forked"], plain["stage"]) == (True, "test")

    own, _ = call(client, deploy(client, code.zipped({"app.py": PLAIN, "queue.py": "x = 1"})))
    assert (own["forked"], own["queue"]) == (False, "/var/task/queue.py")
    for variable in ("PYTHONNOUSERSITE", "LD_PRELOAD", "LC_ALL", "MALLOC_ARENA_MAX"):
        settings = {"Environment": {"Variables": {variable: "1"}}}
        other, _ = call(client, deploy(client, PLAIN, **settings))
        assert not other["forked"], variable
        # All else is the same either way.
        assert other | {"forked": True, "stage": "test"} == plain


def test_a_library_of_the_function_is_found(warm):
    """The loader of libraries remembers where it found nothing; a fork must not inherit that."""
    _, client = warm
    source = FORKED + """
import ctypes
def handler(event, context):
    return {"forked": was_forked(), "answer": ctypes.CDLL("libown.so").getpid() > 0}
"""
    [libc] = {line.split()[-1] for line in open("/proc/self/maps") if line.rstrip().endswith("/libc.so.6")}
    with open(libc, "rb") as file:
        package = code.zipped({"app.py": source, "lib/libown.so": file.read()})
    assert call(client, deploy(client, package))[0] == {"forked": True, "answer": True}


def test_a_killed_zygote_is_done_without_and_replaced(warm):
    server, client = warm
    [pid] = zygotes(server)
    os.kill(pid, signal.SIGKILL)
    result, answer = call(client, deploy(client, PLAIN))
    assert "FunctionError" not in answer, result
    assert not result["forked"]


def test_a_process_that_is_started_anew_is_a_fork_too(warm):
    _, client = warm
    source = FORKED + """
import os
def handler(event, context):
    if event.get("end"):
        os._exit(1)
    return was_forked()
"""
    name = deploy(client, source)
    assert call(client, name)[0] is True
    assert "FunctionError" in call(client, name, {"end": True})[1]
    assert call(client, name)[0] is True


def test_zygotes_end_with_their_server(warm):
    server, _ = warm
    found = zygotes(server)
    assert len(found) == 1
    footprint = server.kill()
    wait_until(lambda: not any(leftovers.state(pid) not in (None, "Z") for pid in found), "they are gone")
    server.start()
    leftovers.nothing_left(footprint.before_restart())
