"""How many environments calls get: no more than they need, in fair turns, and within memory."""

import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from botocore.exceptions import ClientError
from harness import aws
from harness.functions import call, deploy
from harness.leftovers import wait_until

WHERE = """
import time
def handler(event, context):
    time.sleep(event.get("sleep", 0))
    return context.log_stream_name
"""

# When it began.
TIMED = """
import time
def handler(event, context):
    began = time.time()
    time.sleep(event.get("sleep", 0))
    return began
"""

# The pages are its own, and stay with it while it is idle.
FAT = """
held = b"x" * (48 << 20)
def handler(event, context):
    return context.log_stream_name
"""


def test_two_callers_need_two_environments(client, function):
    """Each calls again the moment it is answered: an environment is about to be free then."""
    name = function(WHERE)

    def caller(_):
        return {call(client, name, {"sleep": 0.05})[0] for _ in range(30)}

    with ThreadPoolExecutor(2) as pool:
        used = set().union(*pool.map(caller, range(2)))
    assert len(used) <= 3, used


def test_calls_that_come_while_others_are_served_wait_for_them(client, function):
    """Many short calls at once are served by what the first of them started."""
    name = function(WHERE)
    with ThreadPoolExecutor(48) as pool:
        answers = list(pool.map(lambda _: call(client, name)[0], range(96)))
    assert len(answers) == 96
    assert len(set(answers)) < 48, "a start that nobody needs any more is not made"


def test_a_burst_does_not_hold_up_the_start_of_another_function(client, function):
    burst, other = function(TIMED), function(TIMED)
    began = threading.Event()

    def one(_):
        began.set()
        # Long enough for none of them to be free before all are there.
        return call(client, burst, {"sleep": 4})[0]

    with ThreadPoolExecutor(100) as pool:
        starts = [pool.submit(one, n) for n in range(100)]
        began.wait(10)
        time.sleep(0.2)
        own = call(client, other)[0]
        later = [start.result() for start in starts if start.result() > own]
    assert len(later) >= 10, "it came after the burst"


def test_calls_in_a_second_are_limited_by_what_is_reserved(client, function):
    """AWS: ten in a second for each environment that a function may have."""
    name = function(WHERE)
    client.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=1)
    call(client, name)

    def many():
        for _ in range(40):
            try:
                call(client, name)
            except ClientError as error:
                return error.response

    refused = wait_until(many, "a refusal", 30)
    assert refused["Error"]["Code"] == "TooManyRequestsException"
    assert refused["ResponseMetadata"]["HTTPStatusCode"] == 429
    assert refused["Reason"] == "ReservedFunctionInvocationRateLimitExceeded"
    assert refused["ResponseMetadata"]["HTTPHeaders"]["retry-after"] == "1"
    answer = client.invoke(FunctionName=name, InvocationType="Event", Payload=b"{}")
    assert answer["StatusCode"] == 202, "events are not counted"


limits_memory = pytest.mark.skipif(os.geteuid() != 0, reason="only root makes memory cgroups here")


def limited(own_server, megabytes):
    server = own_server(config=f"[functions]\nmemory_megabytes = {megabytes}\n")
    client = aws.client(server.access())
    return client


@limits_memory
def test_idle_environments_make_room_when_memory_runs_short(own_server):
    client = limited(own_server, 300)
    names = [deploy(client, FAT, MemorySize=256) for _ in range(12)]
    first = {name: call(client, name)[0] for name in names}
    assert len(set(first.values())) == 12, "all were answered"
    # The latest is still there, and the earliest had to go.
    assert call(client, names[-1])[0] == first[names[-1]]
    assert call(client, names[0])[0] != first[names[0]]


@limits_memory
def test_a_start_without_memory_is_refused_and_the_server_goes_on(own_server):
    client = limited(own_server, 1)
    name = deploy(client, WHERE)
    first = call(client, name)[0]

    def one(_):
        try:
            return call(client, name, {"sleep": 2})[0]
        except ClientError as error:
            return error.response

    with ThreadPoolExecutor(2) as pool:
        ends = list(pool.map(one, range(2)))
    [refused] = [end for end in ends if end != first]
    assert refused["ResponseMetadata"]["HTTPStatusCode"] == 503
    assert refused["Error"]["Code"] == "ServiceException"
    assert "no memory" in refused["Error"]["Message"]
    assert call(client, name)[0] == first
