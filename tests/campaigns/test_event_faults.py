"""Every step of the life of an event, and a server that dies right there: nothing is lost.

That the server dies shows that the step was taken: a fault point that nothing passes is noticed.

Cases: F1, F2.
"""

import re

import pytest
from harness import place
from harness.functions import deploy, fresh_name
from harness.leftovers import wait_until
from harness.server import Server
from ledger import WRITES, Ledger
from test_faults import POINTS as OF_ONE_CALL
from test_faults import binary  # noqa: F401: a fixture

EVENTS = 60
# The heir gets the record of each success.
HEIR = """
import os

def handler(event, context):
    heirs = os.open(event["requestPayload"]["ledger"] + ".heirs", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(heirs, (event["requestContext"]["requestId"] + "\\n").encode())
    os.close(heirs)
"""
# Name, and what it is armed with: not at its first passing, so that there is something to lose.
POINTS = {
    "event.accept": "kill@20",
    "event.accepted": "kill@20",
    "event.lease": "kill@3",
    "event.leased": "kill@3",
    "event.call": "kill@20",
    "event.called": "kill@20",
    "event.settle": "kill@20",
    "event.settled": "kill@20",
    "delivery.send": "kill@10",
    "delivery.sent": "kill@10",
    "store.commit": "kill@40",
    "store.committed": "kill@40",
}
CONFIG = 'auth = "none"\n[events]\nretry_seconds = [0.2, 0.4]\n'


def armed(binary, faults):  # noqa: F811
    server = Server(isolation="process", config=CONFIG)
    server.binary = binary
    server.start()
    client = server.client()
    heir = deploy(client, HEIR, FunctionName=fresh_name("heir"))
    name = deploy(client, WRITES, FunctionName=fresh_name("writes"))
    client.put_function_event_invoke_config(
        FunctionName=name,
        DestinationConfig={"OnSuccess": {"Destination": arn(client, heir)}},
    )
    server.stop()
    server.environment = {"LAMPLIGHT_FAULTS": faults}
    return server.start(), name


def arn(client, name):
    return client.get_function_configuration(FunctionName=name)["FunctionArn"]


def inherited(ledger):
    path = ledger.path.with_name(ledger.path.name + ".heirs")
    return set(path.read_text().split()) if path.exists() else set()


def account_for(server, ledger):
    """Starts the server again, without faults, and waits until nothing is under way."""
    server.environment = {}
    server.start()
    wait_until(lambda: ledger.queued() == 0, "the queue to empty", 60)
    wait_until(lambda: ledger.promised <= inherited(ledger), "all records", 60)
    server.stop()
    ends = ledger.ends()
    assert {name: len(ends.get(name, [])) for name in ledger.promised} == dict.fromkeys(ledger.promised, 1)
    assert ledger.promised <= set(ledger.starts())


@pytest.mark.timeout(900)
@pytest.mark.parametrize("point, how", [*POINTS.items(), ("store.commit", "error@40")])
def test_a_server_that_dies_at_any_step_loses_no_event(binary, point, how):  # noqa: F811
    """F14: a failed sync is one of the ways."""
    server, name = armed(binary, f"{point}={how}")
    try:
        ledger = Ledger(server)
        sender = ledger.sender()
        for _ in range(EVENTS):
            sender.send(name, sleep=0.05)
        sender.close()
        wait_until(lambda: server.process.poll() is not None, f"the server's end at {point}", 60)
        assert server.process.returncode != 0
        assert ledger.promised, "nothing was at stake"
        account_for(server, ledger)
    finally:
        server.discard()


# What a start passes, with what an earlier life has left.
AT_START = {"event.reclaim": "kill@2", "event.sweep": "kill@1"}


@pytest.mark.timeout(900)
@pytest.mark.parametrize("point, how", AT_START.items())
def test_a_server_that_dies_while_it_starts_loses_no_event(binary, point, how):  # noqa: F811
    server, name = armed(binary, "store.commit=wait:0")
    try:
        ledger = Ledger(server)
        sender = ledger.sender()
        for _ in range(EVENTS):
            assert sender.send(name, sleep=0.5) == 202
        sender.close()
        server.kill()
        assert ledger.leased(), "nothing is to be taken back"
        server.environment = {"LAMPLIGHT_FAULTS": f"{point}={how}"}
        server.launch()
        wait_until(lambda: server.process.poll() is not None, f"the server's end at {point}", 60)
        assert server.process.returncode != 0
        account_for(server, ledger)
    finally:
        server.discard()


def test_every_point_is_one_that_is_tested():
    """A point that is new needs a test of what is lost when the server goes there."""
    table = (place.ROOT / "crates/env/src/faults.rs").read_text().partition("BUGS")[0]
    known = set(re.findall(r'^    \("([a-z.]+)", "', table, re.MULTILINE))
    assert known == set(POINTS) | set(AT_START) | set(OF_ONE_CALL)


@pytest.mark.timeout(900)
@pytest.mark.parametrize("point", ["event.accept", "event.lease", "event.settle", "delivery.send"])
def test_a_step_that_fails_once_is_taken_again_or_refused(binary, point):  # noqa: F811
    server, name = armed(binary, f"{point}=error@3")
    try:
        ledger = Ledger(server)
        sender = ledger.sender()
        answers = [sender.send(name, sleep=0.05) for _ in range(EVENTS)]
        sender.close()
        assert answers.count(202) == EVENTS - (point == "event.accept"), answers
        assert set(answers) <= {202, 503}
        server.stop()
        account_for(server, ledger)
    finally:
        server.discard()
