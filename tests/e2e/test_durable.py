"""Durable executions through AWS's own SDK: what it is written for works, and comes through a crash."""

import json
import subprocess
import time

import pytest
from harness import aws, durable
from harness.durable import begin, callback_id, deploy_durable, ended, kinds, status
from harness.functions import call, deploy, fresh_name
from harness.leftovers import wait_until
from harness.server import clean_environment

pytestmark = durable.needs_sdk

EVERYTHING = """
def flaky(path):
    def attempt(context):
        tries = len(open(path).read()) if os.path.exists(path) else 0
        with open(path, "a") as file:
            file.write("x")
        if tries < 2:
            raise ValueError(f"try {tries}")
        return tries
    return attempt

@durable_execution
def handler(event, context):
    what = event["do"]
    if what == "steps":
        greeting = context.step(lambda _: "hello " + event["name"], name="greet")
        context.wait(seconds(1), name="pause")
        return context.step(lambda _: greeting.upper(), name="shout")
    if what == "retry":
        path = "/tmp/" + event["path"]
        return context.step(flaky(path), name="flaky", config=retried(5))
    if what == "fail":
        def wrong(_):
            raise KeyError("lost")
        return context.step(wrong, name="wrong", config=retried(1))
    if what == "children":
        def child(inner):
            first = inner.step(lambda _: 1, name="one")
            inner.wait(seconds(1))
            return first + inner.step(lambda _: 2, name="two")
        return context.run_in_child_context(child, name="child")
    if what == "map":
        def square(inner, item, index, items):
            if item % 2:
                inner.wait(seconds(1))
            return inner.step(lambda _: item * item, name="square")
        return context.map(event["items"], square, name="squares").get_results()
    if what == "parallel":
        branches = [lambda inner, n=n: inner.step(lambda _: n, name="branch") for n in (1, 2, 3)]
        return context.parallel(branches, name="branches").get_results()
    if what == "condition":
        def check(state, _):
            return state + 1
        def strategy(state, attempts):
            if state >= 3:
                return WaitForConditionDecision.stop_polling()
            return WaitForConditionDecision.continue_waiting(seconds(1))
        config = WaitForConditionConfig(wait_strategy=strategy, initial_state=0)
        return context.wait_for_condition(check, config, name="three")
    if what == "callback":
        config = CallbackConfig(
            timeout=seconds(event.get("timeout", 0)),
            heartbeat_timeout=seconds(event.get("heartbeat", 0)),
        )
        callback = context.create_callback(name="approval", config=config)
        context.step(lambda _: callback.callback_id, name="send")
        try:
            return {"answer": callback.result()}
        except CallbackError as error:
            return {"refused": str(error)}
    if what == "invoke":
        try:
            return context.invoke(event["target"], event["payload"], name="other")
        except InvokeError as error:
            return {"failed": str(error)}
    if what == "wait":
        context.step(lambda _: "before", name="before")
        context.wait(seconds(event["seconds"]), name="long")
        return context.step(lambda _: "after", name="after")
    if what == "slow":
        return context.step(lambda _: time.sleep(event["seconds"]) or "slept", name="sleep")
    if what == "die":
        if not os.path.exists("/tmp/died"):
            open("/tmp/died", "w").close()
            os._exit(1)
        return "alive"
    if what == "many":
        return sum(context.step(lambda _, n=n: n, name=f"n{n}") for n in range(event["steps"]))
    if what == "ask":
        return context.wait_for_callback(lambda id, _: None, name="ask")
    if what == "heavy":
        parts = [context.step(lambda _: "x" * 700_000, name=f"part{n}") for n in range(9)]
        context.wait(seconds(1))
        return sum(len(part) for part in parts)
    if what == "large":
        return "x" * event["bytes"]
    raise RuntimeError("what?")
"""


@pytest.fixture(scope="module")
def role(access):
    iam = aws.client(access, "iam")
    role = durable.make_role(iam)
    yield role
    durable.remove_role(iam, role)


@pytest.fixture(scope="module")
def everything(client, role):
    name = deploy_durable(client, EVERYTHING, role)
    yield name
    client.delete_function(FunctionName=name.removesuffix(":$LATEST"))


def test_steps_and_waits(client, everything):
    result, answer = call(client, everything, {"do": "steps", "name": "lamp"})
    assert result == "HELLO LAMP"
    arn = answer["DurableExecutionArn"]
    assert "/durable-execution/" in arn and "FunctionError" not in answer
    got = client.get_durable_execution(DurableExecutionArn=arn)
    assert (got["Status"], json.loads(got["Result"])) == ("SUCCEEDED", "HELLO LAMP")
    assert json.loads(got["InputPayload"]) == {"do": "steps", "name": "lamp"}
    assert got["DurableConfig"] == {"ExecutionTimeout": 600, "RetentionPeriodInDays": 7}
    assert got["Version"] == "$LATEST" and got["EndTimestamp"] >= got["StartTimestamp"]
    assert "ExpectedExecutionTimeoutTimestamp" not in got
    without = client.get_durable_execution(DurableExecutionArn=arn, IncludeExecutionData=False)
    assert "Result" not in without and without["ExecutionDataIncluded"] is False

    happened = durable.events(client, arn)
    assert [event["EventType"] for event in happened] == [
        "ExecutionStarted", "StepStarted", "StepSucceeded", "WaitStarted", "InvocationCompleted",
        "WaitSucceeded", "StepStarted", "StepSucceeded", "InvocationCompleted", "ExecutionSucceeded",
    ]  # fmt: skip
    assert [event["EventId"] for event in happened] == list(range(1, 11))
    greeted = happened[2]
    assert (greeted["Name"], greeted["SubType"]) == ("greet", "Step")
    assert greeted["StepSucceededDetails"]["Result"] == {
        "Payload": '"hello lamp"', "Truncated": False,
    }  # fmt: skip
    assert greeted["StepSucceededDetails"]["RetryDetails"] == {"CurrentAttempt": 1}
    first = client.get_durable_execution_history(DurableExecutionArn=arn, MaxItems=4)
    rest = client.get_durable_execution_history(DurableExecutionArn=arn, Marker=first["NextMarker"])
    assert first["Events"] + rest["Events"] == happened
    backwards = durable.events(client, arn, ReverseOrder=True, IncludeExecutionData=False)
    assert [event["EventId"] for event in backwards] == list(range(10, 0, -1))
    assert "Payload" not in backwards[7]["StepSucceededDetails"]["Result"]


def test_a_step_is_tried_again(client, everything):
    result, answer = call(client, everything, {"do": "retry", "path": fresh_name()})
    assert result == 2
    arn = answer["DurableExecutionArn"]
    steps = [event for event in durable.events(client, arn) if event["EventType"].startswith("Step")]
    assert [event["EventType"] for event in steps] == ["StepStarted", "StepFailed"] * 2 + [
        "StepStarted", "StepSucceeded",
    ]  # fmt: skip
    failed = steps[1]["StepFailedDetails"]
    assert failed["Error"]["Payload"]["ErrorMessage"] == "try 0"
    assert failed["RetryDetails"] == {"CurrentAttempt": 1, "NextAttemptDelaySeconds": 1}


def test_an_execution_that_fails(client, everything):
    result, answer = call(client, everything, {"do": "fail"})
    assert answer["FunctionError"] == "Unhandled" and "lost" in result["errorMessage"]
    got = client.get_durable_execution(DurableExecutionArn=answer["DurableExecutionArn"])
    assert got["Status"] == "FAILED" and "lost" in got["Error"]["ErrorMessage"]
    assert kinds(client, answer["DurableExecutionArn"])[-1] == "ExecutionFailed"


@pytest.mark.parametrize(
    "event, expected",
    [
        ({"do": "children"}, 3),
        ({"do": "map", "items": [1, 2, 3, 4]}, [1, 4, 9, 16]),
        ({"do": "parallel"}, [1, 2, 3]),
        ({"do": "condition"}, 3),
        ({"do": "many", "steps": 60}, sum(range(60))),
        # More than one answer holds: the second invocation has to ask for the rest of it.
        ({"do": "heavy"}, 9 * 700_000),
    ],
)
def test_what_the_sdk_builds_of_operations(client, everything, event, expected):
    result, answer = call(client, everything, event)
    assert result == expected, answer


def test_a_result_that_no_runtime_may_post(client, everything):
    result, answer = call(client, everything, {"do": "large", "bytes": 6 * 1024 * 1024 - 40})
    assert len(result) == 6 * 1024 * 1024 - 40
    got = client.get_durable_execution(DurableExecutionArn=answer["DurableExecutionArn"])
    assert len(got["Result"]) == 6 * 1024 * 1024 - 38


def test_a_callback_is_answered(client, everything):
    arn = begin(client, everything, {"do": "callback"})
    id = callback_id(client, arn)
    client.send_durable_execution_callback_heartbeat(CallbackId=id)
    assert status(client, arn) == "RUNNING"
    client.send_durable_execution_callback_success(CallbackId=id, Result=b"yes")
    got = ended(client, arn)
    assert json.loads(got["Result"]) == {"answer": "yes"}
    assert "CallbackSucceeded" in kinds(client, arn)
    for again in ("heartbeat", "success", "failure"):
        send = getattr(client, f"send_durable_execution_callback_{again}")
        with pytest.raises(client.exceptions.CallbackTimeoutException) as refused:
            send(CallbackId=id)
        assert refused.value.response["Error"]["Message"] == (
            "The callback is either timed out or already completed"
        )


def test_somebody_is_asked(client, everything):
    arn = begin(client, everything, {"do": "ask"})
    id = callback_id(client, arn)
    client.send_durable_execution_callback_success(CallbackId=id, Result=b'"fine"')
    assert "fine" in ended(client, arn)["Result"]


def test_a_callback_is_refused_or_forgotten(client, everything):
    arn = begin(client, everything, {"do": "callback"})
    id = callback_id(client, arn)
    client.send_durable_execution_callback_failure(
        CallbackId=id, Error={"ErrorMessage": "no", "ErrorType": "Refusal"}
    )
    assert "no" in json.loads(ended(client, arn)["Result"])["refused"]
    for which in ("timeout", "heartbeat"):
        arn = begin(client, everything, {"do": "callback", which: 1})
        assert "refused" in json.loads(ended(client, arn)["Result"])
        assert "CallbackTimedOut" in kinds(client, arn)
    with pytest.raises(client.exceptions.InvalidParameterValueException) as unknown:
        client.send_durable_execution_callback_success(CallbackId="YWJj")
    assert unknown.value.response["Error"]["Message"] == "Invalid callback id"


def test_chained_invokes(client, everything, function):
    plain = function("def handler(event, context):\n    return event['n'] + 1 if 'n' in event else 1 / 0\n")
    result, _ = call(client, everything, {"do": "invoke", "target": plain, "payload": {"n": 1}})
    assert result == 2
    result, _ = call(client, everything, {"do": "invoke", "target": plain, "payload": {}})
    assert "division" in result["failed"]
    event = {"do": "invoke", "target": everything, "payload": {"do": "steps", "name": "child"}}
    result, answer = call(client, everything, event)
    assert result == "HELLO CHILD"
    started = [
        event["ChainedInvokeStartedDetails"]
        for event in durable.events(client, answer["DurableExecutionArn"])
        if event["EventType"] == "ChainedInvokeStarted"
    ]
    assert status(client, started[0]["DurableExecutionArn"]) == "SUCCEEDED"
    for target, why in [
        ("nobody", "Function not found: "),
        (everything.removesuffix(":$LATEST"), "You cannot invoke a durable function using an"),
    ]:
        result, _ = call(client, everything, {"do": "invoke", "target": target, "payload": {}})
        assert why in result["failed"]


def test_executions_that_start_one_another_are_a_loop(client, everything):
    event = {"do": "steps", "name": "end"}
    for _ in range(20):
        event = {"do": "invoke", "target": everything, "payload": event}
    result, _ = call(client, everything, event)
    assert "recursive loop" in result["failed"]


def test_names_make_starts_idempotent(client, everything):
    name = fresh_name()
    event = {"do": "steps", "name": "once"}
    first = begin(client, everything, event, DurableExecutionName=name)
    assert first.split("/")[-2] == name
    assert begin(client, everything, event, DurableExecutionName=name) == first
    result, answer = call(client, everything, event, DurableExecutionName=name)
    assert (result, answer["DurableExecutionArn"]) == ("HELLO ONCE", first)
    with pytest.raises(client.exceptions.DurableExecutionAlreadyStartedException) as other:
        begin(client, everything, {"do": "fail"}, DurableExecutionName=name)
    assert other.value.response["Error"]["Message"] == f"Execution already started: {first}"
    listed = client.list_durable_executions_by_function(
        FunctionName=everything, DurableExecutionName=name
    )["DurableExecutions"]
    assert [execution["DurableExecutionArn"] for execution in listed] == [first]
    assert listed[0]["Status"] == "SUCCEEDED"


def test_calls_that_cannot_be(client, everything, function):
    bare = everything.removesuffix(":$LATEST")
    for kind in ("RequestResponse", "DryRun", "Event"):
        with pytest.raises(client.exceptions.InvalidParameterValueException) as refused:
            client.invoke(FunctionName=bare, InvocationType=kind)
        assert refused.value.response["Error"]["Message"] == (
            "You cannot invoke a durable function using an unqualified ARN."
        )
    assert client.invoke(FunctionName=everything, InvocationType="DryRun")["StatusCode"] == 204
    plain = function("def handler(event, context):\n    return 1\n")
    with pytest.raises(client.exceptions.InvalidParameterValueException):
        client.invoke(FunctionName=plain, DurableExecutionName="x")
    long = function("handler = None", DurableConfig={"ExecutionTimeout": 901}) + ":$LATEST"
    with pytest.raises(client.exceptions.InvalidParameterValueException) as refused:
        client.invoke(FunctionName=long)
    assert refused.value.response["Error"]["Message"] == (
        "You cannot synchronously invoke a durable function with an executionTimeout greater than"
        " 15 minutes."
    )
    missing = f"arn:aws:lambda:us-east-1:{aws.ACCOUNT}:function:{everything}/durable-execution/a/b"
    for operation in ("get_durable_execution", "stop_durable_execution", "pause_durable_execution",
                      "delete_durable_execution", "get_durable_execution_history"):  # fmt: skip
        with pytest.raises(client.exceptions.ResourceNotFoundException) as refused:
            getattr(client, operation)(DurableExecutionArn=missing)
        assert refused.value.response["Error"]["Message"] == "Durable Execution does not exist"
    for call_it in (client.checkpoint_durable_execution, client.get_durable_execution_state):
        with pytest.raises(client.exceptions.InvalidParameterValueException) as refused:
            call_it(DurableExecutionArn=missing, CheckpointToken="YWJj")
        assert refused.value.response["Error"]["Message"] == "Invalid checkpoint token"


def test_a_function_that_does_not_speak_as_the_sdk_does(client, function):
    source = "def handler(event, context):\n    return {'Status': 'DONE'}\n"
    name = function(source, DurableConfig={"ExecutionTimeout": 60}) + ":$LATEST"
    result, answer = call(client, name)
    assert answer["FunctionError"] == "Unhandled"
    assert result == {
        "errorMessage": "Invalid Status in invocation output.",
        "errorType": "InvalidParameterValueException",
    }


def gone(client, arn):
    try:
        assert status(client, arn) == "DELETING"
        return False
    except client.exceptions.ResourceNotFoundException:
        return True


def test_stop_and_delete(client, everything):
    arn = begin(client, everything, {"do": "wait", "seconds": 300})
    wait_until(lambda: "WaitStarted" in kinds(client, arn), "the wait", 30)
    with pytest.raises(client.exceptions.ResourceConflictException):
        client.delete_durable_execution(DurableExecutionArn=arn)
    stopped = client.stop_durable_execution(DurableExecutionArn=arn, Error={"ErrorMessage": "enough"})
    again = client.stop_durable_execution(DurableExecutionArn=arn)
    assert again["StopTimestamp"] == stopped["StopTimestamp"]
    got = client.get_durable_execution(DurableExecutionArn=arn)
    assert (got["Status"], got["Error"]) == ("STOPPED", {"ErrorMessage": "enough"})
    assert kinds(client, arn)[-1] == "ExecutionStopped"
    assert "DeletionRequestTimestamp" in client.delete_durable_execution(DurableExecutionArn=arn)
    wait_until(lambda: gone(client, arn), "the deletion", 30)


def test_pause_and_resume(client, everything):
    arn = begin(client, everything, {"do": "callback"})
    id = callback_id(client, arn)
    wait_until(lambda: "InvocationCompleted" in kinds(client, arn), "the invocation", 30)
    client.pause_durable_execution(DurableExecutionArn=arn, Reason="to look", ExecutionTimeoutPaused=True)
    got = client.get_durable_execution(DurableExecutionArn=arn)
    assert got["Status"] == "PAUSED"
    assert got["PauseDetails"]["Reason"] == "to look"
    assert got["PauseDetails"]["ExecutionTimeoutPaused"] is True
    with pytest.raises(client.exceptions.ResourceConflictException):
        client.pause_durable_execution(DurableExecutionArn=arn)
    # What it waits for goes on, and nobody is invoked for it.
    client.send_durable_execution_callback_success(CallbackId=id, Result=b"1")
    assert status(client, arn) == "PAUSED"
    assert kinds(client, arn).count("InvocationCompleted") == 1
    client.resume_durable_execution(DurableExecutionArn=arn)
    assert json.loads(ended(client, arn)["Result"]) == {"answer": "1"}
    happened = kinds(client, arn)
    assert happened.index("ExecutionPaused") < happened.index("CallbackSucceeded")
    assert happened.index("CallbackSucceeded") < happened.index("ExecutionResumed")
    with pytest.raises(client.exceptions.ResourceConflictException):
        client.resume_durable_execution(DurableExecutionArn=arn)


def test_listing(client, function):
    source = "def handler(event, context):\n    return {'Status': 'SUCCEEDED', 'Result': '1'}\n"
    name = function(source, DurableConfig={"ExecutionTimeout": 60})
    arns = [call(client, f"{name}:$LATEST", {"n": n})[1]["DurableExecutionArn"] for n in range(5)]

    def listed(**settings):
        pages = client.get_paginator("list_durable_executions_by_function").paginate(
            FunctionName=name, PaginationConfig={"PageSize": 2}, **settings
        )
        return [e["DurableExecutionArn"] for page in pages for e in page["DurableExecutions"]]

    assert listed() == arns[::-1]
    assert listed(ReverseOrder=True) == arns
    assert listed(Statuses=["RUNNING"]) == []
    assert listed(Statuses=["SUCCEEDED"], Qualifier="$LATEST") == arns[::-1]
    assert listed(StartedAfter=time.time() + 60) == []
    with pytest.raises(client.exceptions.InvalidParameterValueException) as refused:
        client.list_durable_executions_by_function(FunctionName=name, Marker="bogus")
    assert refused.value.response["Error"]["Message"] == "Invalid Marker"


def test_an_execution_that_takes_too_long(client, role):
    name = deploy_durable(client, EVERYTHING, role, timeout=3)
    try:
        result, answer = call(client, name, {"do": "wait", "seconds": 60})
        assert answer["FunctionError"] == "Unhandled"
        assert result == {"errorMessage": "Execution timed out after 3 seconds."}
        assert status(client, answer["DurableExecutionArn"]) == "TIMED_OUT"
    finally:
        client.delete_function(FunctionName=name.removesuffix(":$LATEST"))


def test_an_execution_stays_with_its_version(client, role):
    name = deploy_durable(client, EVERYTHING, role).removesuffix(":$LATEST")
    try:
        client.publish_version(FunctionName=name)
        active = client.get_waiter("published_version_active")
        active.wait(FunctionName=name, Qualifier="1", WaiterConfig={"Delay": 1})
        arn = begin(client, f"{name}:1", {"do": "callback"})
        id = callback_id(client, arn)
        changed = EVERYTHING.replace('{"answer":', '{"changed":')
        client.update_function_code(FunctionName=name, ZipFile=durable.package(changed))
        client.get_waiter("function_updated_v2").wait(FunctionName=name)
        client.send_durable_execution_callback_success(CallbackId=id, Result=b"1")
        assert json.loads(ended(client, arn)["Result"]) == {"answer": "1"}
    finally:
        client.delete_function(FunctionName=name)
    # Its executions went with it.
    wait_until(lambda: gone(client, arn), "the executions to go", 30)


def test_an_environment_that_dies_is_replaced(client, everything):
    result, answer = call(client, everything, {"do": "die"})
    assert result == "alive"
    completed = [
        event["InvocationCompletedDetails"]
        for event in durable.events(client, answer["DurableExecutionArn"])
        if event["EventType"] == "InvocationCompleted"
    ]
    assert ["Error" in invocation for invocation in completed] == [True, False]


def test_many_at_once(client, everything):
    arns = [begin(client, everything, {"do": "wait", "seconds": 1}) for _ in range(8)]
    assert {ended(client, arn)["Status"] for arn in arns} == {"SUCCEEDED"}


def test_executions_come_through_a_crash(own_server):
    server = own_server()
    client = server.client()
    name = deploy_durable(client, EVERYTHING, durable.make_role(server.client("iam")))
    waiting = begin(client, name, {"do": "wait", "seconds": 4})
    asked = begin(client, name, {"do": "callback"})
    id = callback_id(client, asked)
    event = {"do": "invoke", "target": name, "payload": {"do": "wait", "seconds": 4}}
    chained = begin(client, name, event)
    working = begin(client, name, {"do": "slow", "seconds": 3})
    wait_until(lambda: "WaitStarted" in kinds(client, waiting), "the wait", 30)
    wait_until(lambda: "ChainedInvokeStarted" in kinds(client, chained), "the call", 30)
    wait_until(lambda: "StepStarted" in kinds(client, working), "the work", 30)
    server.kill()
    server.start()
    client = server.client()
    # An invocation that was cut off is made again.
    assert json.loads(ended(client, working)["Result"]) == "slept"
    assert json.loads(ended(client, waiting)["Result"]) == "after"
    # What was done before the crash was not done again.
    assert kinds(client, waiting).count("StepSucceeded") == 2
    client.send_durable_execution_callback_success(CallbackId=id, Result=b"still here")
    assert json.loads(ended(client, asked)["Result"]) == {"answer": "still here"}
    assert json.loads(ended(client, chained)["Result"]) == "after"


def test_the_role_has_to_allow_it(own_server):
    server = own_server()
    client, iam = server.client(), server.client("iam")
    role = iam.create_role(RoleName="worker", AssumeRolePolicyDocument=durable.TRUST)["Role"]
    name = deploy_durable(client, EVERYTHING, role["Arn"])
    result, _ = call(client, name, {"do": "steps", "name": "x"})
    assert "lambda:CheckpointDurableExecution" in result["errorMessage"]
    iam.attach_role_policy(RoleName="worker", PolicyArn=durable.MANAGED)
    assert call(client, name, {"do": "steps", "name": "x"})[0] == "HELLO X"
    plain = deploy(client, "def handler(event, context):\n    return 1\n")
    event = {"do": "invoke", "target": plain, "payload": {}}
    result, answer = call(client, name, event)
    assert "lambda:InvokeFunction" in result["errorMessage"], answer


def test_a_queued_event_starts_one_execution_and_waits_for_none(server, client, role):
    source = """
@durable_execution
def handler(event, context):
    context.wait(seconds(20), name="pause")
    return context.step(lambda _: event["requestPayload"])
"""
    heir = deploy_durable(client, source, role).removesuffix(":$LATEST")
    version = client.publish_version(FunctionName=heir)
    plain = deploy(client, "def handler(event, context):\n    return 1\n")
    client.put_function_event_invoke_config(
        FunctionName=plain, DestinationConfig={"OnSuccess": {"Destination": version["FunctionArn"]}}
    )
    client.invoke(FunctionName=plain, InvocationType="Event", Payload=b'"hello"')

    def executions():
        return client.list_durable_executions_by_function(FunctionName=version["FunctionArn"])["DurableExecutions"]

    [execution] = wait_until(executions, "the execution", 30)

    # Named by its event, which is over long before it.
    def over():
        command = [str(server.binary), "events", "show", execution["DurableExecutionName"]]
        ran = subprocess.run(
            [*command, "--data-dir", str(server.data_dir)],
            capture_output=True, text=True, timeout=60, env=clean_environment(),
        )  # fmt: skip
        return [one for one in map(json.loads, ran.stdout.splitlines()) if one["Stage"] == "Ended"]

    [event] = wait_until(over, "the end of the event")
    assert event["End"] == "Succeeded"
    arn = execution["DurableExecutionArn"]
    assert status(client, arn) == "RUNNING"
    assert json.loads(ended(client, arn)["Result"]) == "hello"
    assert len(executions()) == 1
