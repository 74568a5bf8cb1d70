"""Many calls at once, and what environments are kept for the next one."""

import os
import signal
from concurrent.futures import ThreadPoolExecutor

import pytest
from harness import code, leftovers
from harness.functions import call, deploy, fresh_name
from harness.leftovers import wait_until

COUNTER = """
import os, time
count = 0
def handler(event, context):
    global count
    count += 1
    time.sleep(event.get("sleep", 0))
    return {"id": context.log_stream_name, "count": count, "lamp": os.environ.get("LAMP")}
"""


def test_first_calls_at_the_same_time_are_all_answered(client, function):
    name = function("def handler(event, context):\n    return event\n")
    with ThreadPoolExecutor(64) as pool:
        answers = list(pool.map(lambda number: call(client, name, number)[0], range(64)))
    assert answers == list(range(64))


def test_first_calls_of_different_functions(client, function):
    names = [
        function(f"def handler(event, context):\n    return {number}\n", wait=False)
        for number in range(8)
    ]
    for name in names:
        client.get_waiter("function_active_v2").wait(FunctionName=name)
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda name: call(client, name)[0], names)) == list(range(8))


def test_calls_at_the_same_time_have_environments_of_their_own(client, function):
    """Four calls that each wait for the other three: only four environments can answer."""
    name = function(COUNTER)
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: call(client, name, {"sleep": 2})[0], range(4)))
    assert len({one["id"] for one in answers}) == 4


def test_an_idle_environment_is_used_again(client, function):
    name = function(COUNTER)
    answers = [call(client, name)[0] for _ in range(10)]
    assert len({one["id"] for one in answers}) == 1
    assert [one["count"] for one in answers] == list(range(1, 11))


def test_two_hundred_calls_one_after_the_other(client, function):
    name = function("def handler(event, context):\n    return event\n")
    assert [call(client, name, number)[0] for number in range(200)] == list(range(200))


def test_no_old_settings_after_an_update(client, function):
    name = function(COUNTER, Environment={"Variables": {"LAMP": "0"}})
    for number in range(1, 6):
        assert call(client, name)[0]["lamp"] == str(number - 1)
        client.update_function_configuration(
            FunctionName=name, Environment={"Variables": {"LAMP": str(number)}}
        )
        client.get_waiter("function_updated_v2").wait(
            FunctionName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 30}
        )
        assert call(client, name)[0]["lamp"] == str(number)


def test_no_old_code_after_an_update_under_load(client, function):
    """Calls go on all the time; one that starts after the update runs the new code."""
    source = "def handler(event, context):\n    return {}\n"
    name = function(source.format(0))
    stop = False
    failures = []

    def keep_calling():
        while not stop:
            payload, answer = call(client, name)
            if "FunctionError" in answer or not isinstance(payload, int):
                failures.append(payload)

    with ThreadPoolExecutor(4) as pool:
        callers = [pool.submit(keep_calling) for _ in range(4)]
        try:
            for number in range(1, 6):
                client.update_function_code(
                    FunctionName=name, ZipFile=code.python(source.format(number))
                )
                client.get_waiter("function_updated_v2").wait(
                    FunctionName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 30}
                )
                assert {call(client, name)[0] for _ in range(5)} == {number}
        finally:
            stop = True
        for caller in callers:
            caller.result()
    assert not failures


def test_delete_during_a_call(client, function):
    """The call that runs ends as it would have; no new one starts."""
    name = function(COUNTER)
    call(client, name)
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(call, client, name, {"sleep": 2})
        client.delete_function(FunctionName=name)
        payload, _ = running.result()
    assert payload["count"] == 2 or "errorType" in payload
    with pytest.raises(client.exceptions.ResourceNotFoundException):
        call(client, name)


def test_environment_that_is_killed_from_outside(own_server):
    """The next call gets a new environment; it does not wait for the dead one."""
    server = own_server()
    client = server.client()
    name = deploy(client, COUNTER, FunctionName=fresh_name())
    first = call(client, name)[0]
    for pid, start in leftovers.descendants(server.pid).items():
        if leftovers.running(pid, start):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass

    def answered():
        # A call that was given the dying environment may say so; none may hang.
        payload, answer = call(client, name)
        return payload if "FunctionError" not in answer else None

    after = wait_until(answered, "an answer from a new environment", 30)
    assert after["count"] == 1
    assert after["id"] != first["id"]


def test_beyond_the_limit_there_is_an_answer_at_once(own_server):
    """More calls than the account may run at a time: 429 with its reason, never a hang."""
    server = own_server(config="[functions]\nconcurrent_executions = 2\n")
    client = server.client()
    name = deploy(client, COUNTER, FunctionName=fresh_name())

    def outcome(_):
        try:
            return call(client, name, {"sleep": 3})[0]
        except client.exceptions.TooManyRequestsException as error:
            return error.response

    with ThreadPoolExecutor(6) as pool:
        outcomes = list(pool.map(outcome, range(6)))
    refusals = [one for one in outcomes if "Error" in one]
    assert len(refusals) == 4
    for refusal in refusals:
        assert refusal["ResponseMetadata"]["HTTPStatusCode"] == 429
        assert refusal["Error"]["Message"] == "Rate Exceeded."
        assert refusal["Reason"].endswith("LimitExceeded")
        assert int(refusal["ResponseMetadata"]["HTTPHeaders"]["retry-after"]) > 0
    assert call(client, name)[0]["count"] >= 1
