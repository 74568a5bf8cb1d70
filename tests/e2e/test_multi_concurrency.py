"""Functions whose environments take several calls at once, as those on capacity providers do."""

import concurrent.futures
import json

import pytest
from harness import aws, code, extensions, place
from harness.functions import call, fresh_name, run_inside
from harness.leftovers import state, wait_until, with_variable
from harness.refusals import refused
from test_json_logs import kinds, lines, only, stored

MEETS = """
import os, time

calls = 0
world = os.getpid()

def handler(event, context):
    # Ends when as many are here as are to meet, in whatever process.
    global calls
    calls += 1
    os.makedirs("/tmp/here", exist_ok=True)
    open("/tmp/here/" + context.aws_request_id, "w").close()
    while len(os.listdir("/tmp/here")) < event.get("meet", 1):
        time.sleep(0.01)
    if event.get("exit"):
        os._exit(3)
    if event.get("raise"):
        raise ValueError("no oil")
    time.sleep(event.get("sleep", 0))
    return {"process": world, "calls": calls, "init": os.environ["AWS_LAMBDA_INITIALIZATION_TYPE"],
            "most": os.environ["AWS_LAMBDA_MAX_CONCURRENCY"], "id": context.aws_request_id}
"""


@pytest.fixture(scope="module")
def provider(client):
    name = fresh_name("provider")
    made = client.create_capacity_provider(
        CapacityProviderName=name,
        VpcConfig={"SubnetIds": ["subnet-1"], "SecurityGroupIds": ["sg-1"]},
        PermissionsConfig={"CapacityProviderOperatorRoleArn": aws.ROLE},
    )
    return made["CapacityProvider"]["CapacityProviderArn"]


@pytest.fixture
def several(function, provider):
    def make(package, most, **settings):
        config = {"CapacityProviderArn": provider, "PerExecutionEnvironmentMaxConcurrency": most}
        settings.setdefault("MemorySize", 512)
        return function(
            package,
            CapacityProviderConfig={"LambdaManagedInstancesCapacityProviderConfig": config},
            **settings,
        )

    return make


def at_once(client, name, events, **settings):
    with concurrent.futures.ThreadPoolExecutor(len(events)) as pool:
        return list(pool.map(lambda event: call(client, name, event, **settings), events))


def test_calls_meet_in_one_environment(client, several):
    name = several(MEETS, 3)
    answers = [payload for payload, _ in at_once(client, name, [{"meet": 3}] * 3)]
    assert len({answer["process"] for answer in answers}) == 3
    assert {(answer["most"], answer["init"]) for answer in answers} == {("3", "lambda-managed-instances")}
    assert len({answer["id"] for answer in answers}) == 3
    # It is warm for the next ones, one after the other.
    for _ in range(4):
        assert call(client, name, {"meet": 3})[0]["process"] in {answer["process"] for answer in answers}


def test_one_more_call_gets_another_environment(client, logs, several):
    name = several(MEETS, 2, Timeout=3)
    # No environment has three of them, so none of them ever meets two others.
    answers = at_once(client, name, [{"meet": 3}] * 3)
    assert [payload["errorType"] for payload, _ in answers] == ["Sandbox.Timedout"] * 3
    group = f"/aws/lambda/{name}"
    wait_until(lambda: len(logs.describe_log_streams(logGroupName=group)["logStreams"]) == 2, "two streams")


def test_an_error_is_its_calls_own(client, several):
    name = several(MEETS, 3)
    events = [{"meet": 3}, {"meet": 3, "raise": True}, {"meet": 3}]
    good, bad, other = at_once(client, name, events)
    assert bad[0]["errorType"] == "ValueError" and bad[1]["FunctionError"] == "Unhandled"
    assert "FunctionError" not in good[1] and "FunctionError" not in other[1]


def test_a_process_that_dies_ends_its_call_and_no_other(client, several):
    name = several(MEETS, 3)
    good, bad, other = at_once(client, name, [{"meet": 3}, {"meet": 3, "exit": True}, {"meet": 3}])
    assert bad[0]["errorType"] == "Runtime.ExitError"
    assert bad[0]["errorMessage"].endswith("Runtime exited with error: exit status 3")
    assert {"FunctionError"} & (good[1].keys() | other[1].keys()) == set()
    # Another process took its place.
    answers = at_once(client, name, [{"meet": 6}] * 3)
    assert len({payload["process"] for payload, _ in answers}) == 3


def test_a_timeout_is_told_and_not_enforced(client, several):
    name = several(MEETS, 2, Timeout=1)
    payload, answer = call(client, name, {"sleep": 3})
    assert payload["errorType"] == "Sandbox.Timedout" and answer["FunctionError"] == "Unhandled"
    # The others go on beside it, and its process is there when it is done.
    assert call(client, name)[0]["calls"] == 1
    seen = wait_until(
        lambda: [p for p, _ in at_once(client, name, [{}] * 2) if p.get("calls", 0) > 1], "it came back"
    )
    assert seen


def test_a_burst_is_answered_whole(client, several):
    name = several(MEETS, 4, Timeout=60)
    answers = at_once(client, name, [{}] * 40)
    assert all("FunctionError" not in answer for _, answer in answers)
    assert len({payload["id"] for payload, _ in answers}) == 40


def test_logs_are_json_and_each_call_has_its_tail(client, logs, several):
    name = several(
        "import logging\ndef handler(event, context):\n"
        "    logging.warning('said by %s', context.aws_request_id)\n    print('x' * 300)\n",
        2,
    )  # fmt: skip
    for (_, answer) in at_once(client, name, [{}] * 2, LogType="Tail"):
        request_id = answer["ResponseMetadata"]["RequestId"]
        tail = lines(answer)
        assert kinds(tail) == ["platform.start", "platform.report"]
        assert list(only(tail, "platform.report")["metrics"]) == ["durationMs"]
        [said] = [line for line in tail if "message" in line]
        assert (said["message"], said["requestId"]) == (f"said by {request_id}", request_id)
    everything = stored(logs, name, 8)
    start = only(everything, "platform.initStart")
    assert start["initializationType"] == "lambda-managed-instances"
    assert only(everything, "platform.initReport")["status"] == "success"
    assert everything.count("x" * 300) == 2


def test_an_initialisation_that_fails_is_told(client, several):
    name = several("raise ValueError('no oil')\ndef handler(event, context): pass\n", 2)
    payload, answer = call(client, name)
    assert (answer["FunctionError"], payload["errorType"]) == ("Unhandled", "ValueError")


def test_other_ways_to_log_are_refused(client, provider):
    config = {"LambdaManagedInstancesCapacityProviderConfig": {"CapacityProviderArn": provider}}
    message, status = refused(
        client, "InvalidParameterValueException", "create_function",
        FunctionName=fresh_name(), Runtime=place.python_runtime(), Handler="app.handler",
        Role=aws.ROLE, Code={"ZipFile": code.python(MEETS)}, CapacityProviderConfig=config,
        LoggingConfig={"LogFormat": "Text"},
    )  # fmt: skip
    assert status == 400 and "LogFormat Text" in message


@pytest.mark.skipif(place.node_runtime() is None, reason="no Node.js on this machine")
def test_node_has_several_calls_in_each_thread(client, several):
    name = several(
        code.node(
            """
            import { readdirSync, writeFileSync, mkdirSync } from "node:fs";
            import { threadId } from "node:worker_threads";
            import { setTimeout as after } from "node:timers/promises";
            let here = 0;
            export const handler = async (event, context) => {
              here += 1;
              mkdirSync("/tmp/here", { recursive: true });
              writeFileSync(`/tmp/here/${context.awsRequestId}`, "");
              while (readdirSync("/tmp/here").length < event.meet) await after(10);
              console.info(`said by ${context.awsRequestId}`);
              if (event.raise) throw new TypeError("no oil");
              return { thread: threadId, here, id: context.awsRequestId, trace: context.xRayTraceId };
            };
            """
        ),
        4, Runtime=place.node_runtime(), Handler="index.handler",
        Environment={"Variables": {"AWS_LAMBDA_NODEJS_WORKER_COUNT": "2"}},
    )  # fmt: skip
    events = [{"meet": 4}] * 3 + [{"meet": 4, "raise": True}]
    answers = at_once(client, name, events, LogType="Tail")
    good = [payload for payload, answer in answers if "FunctionError" not in answer]
    [bad] = [payload for payload, answer in answers if "FunctionError" in answer]
    assert len({payload["thread"] for payload in good}) <= 2 and len(good) == 3
    assert (bad["errorType"], bad["errorMessage"]) == ("TypeError", "no oil")
    assert all(payload["trace"].startswith("Root=") for payload in good)
    for _, answer in answers:
        request_id = answer["ResponseMetadata"]["RequestId"]
        said = [line for line in lines(answer) if line.get("level") == "INFO"]
        assert [(line["message"], line["requestId"]) for line in said] == [
            (f"said by {request_id}", request_id)
        ]


@pytest.mark.skipif(place.node_runtime() is None, reason="no Node.js on this machine")
def test_node_streams_beside_other_calls(client, several):
    name = several(
        code.node(
            """
            export const handler = awslambda.streamifyResponse(async (event, stream) => {
              for (let i = 0; i < 50; i++) stream.write(`${event.who} `);
              stream.end();
            });
            """
        ),
        3, Runtime=place.node_runtime(), Handler="index.handler",
    )  # fmt: skip

    def read(who):
        return client.invoke(FunctionName=name, Payload=json.dumps({"who": who}))["Payload"].read()

    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        texts = list(pool.map(read, "abc"))
    assert [text.decode().split() for text in texts] == [[who] * 50 for who in "abc"]


def test_a_crash_of_an_extension_ends_all_calls_of_its_environment(client, several):
    told = extensions.layer(
        client, fresh_name("weak"),
        weak="""
        try:
            register("INVOKE")
        except AssertionError as refusal:
            open("/tmp/refused", "w").write(str(refusal))
        register("SHUTDOWN")
        import threading
        threading.Thread(target=next_event, daemon=True).start()
        while not os.path.exists("/tmp/crash"):
            time.sleep(0.01)
        os._exit(7)
        """,
    )  # fmt: skip
    name = several(
        """
        import os, time
        def handler(event, context):
            if event.get("quick"):
                return open("/tmp/refused").read()
            os.makedirs("/tmp/here", exist_ok=True)
            open("/tmp/here/" + context.aws_request_id, "w").close()
            while len(os.listdir("/tmp/here")) < 2:
                time.sleep(0.01)
            open("/tmp/crash", "w").close()
            while True:
                time.sleep(1)
        """,
        2, Layers=[told],
    )  # fmt: skip
    assert "INVOKE: ErrorInvalidEventType" in call(client, name, {"quick": True})[0]
    answers = at_once(client, name, [{}] * 2)
    assert [payload["errorType"] for payload, _ in answers] == ["Extension.Crash"] * 2
    # Another environment, with another `/tmp`, takes the next call.
    assert "FunctionError" not in call(client, name, {"quick": True})[1]


RUNTIME_API = """
import http.client, json, os, threading
def api(method, path, body=b"", headers={}, timeout=1):
    connection = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"], timeout=timeout)
    connection.request(method, "/2018-06-01/runtime/" + path, body, headers)
    answer = connection.getresponse()
    return [answer.status, answer.read().decode()]
"""


def test_the_runtime_api_of_several_calls(client, several):
    name = several(code.PROBE, 2)
    got = run_inside(
        client,
        name,
        RUNTIME_API
        + """
me = "invocation/" + context.aws_request_id
result = {
    # One worker waits beside this call; one more may, and a third may not.
    "unknown": api("POST", "invocation/x/response"),
    "mode": api("POST", me + "/response", headers={"Lambda-Runtime-Function-Response-Mode": "loud"}),
    "init": api("POST", "init/error", b"{}"),
}
held = []
def hold():
    try:
        held.append(api("GET", "invocation/next", timeout=3))
    except OSError:
        held.append("waited")
threads = [threading.Thread(target=hold) for _ in range(3)]
for thread in threads: thread.start()
for thread in threads: thread.join()
result["next"] = held
""",
    )
    assert got["unknown"][0] == 400 and "InvalidRequestID" in got["unknown"][1]
    assert got["mode"][0] == 400 and "InvalidFunctionResponseMode" in got["mode"][1]
    assert got["init"][0] == 403 and "InvalidStateTransition" in got["init"][1]
    refusals = [answer for answer in got["next"] if answer != "waited"]
    assert len(refusals) == 2
    for status, body in refusals:
        assert status == 500 and json.loads(body)["errorType"] == "InternalServerError"


def test_a_runtime_of_its_own_has_several_calls(client, several):
    """Threads of one process that ask for events side by side."""
    source = """#!/usr/bin/env python3
import http.client, os, threading
barrier = threading.Barrier(3)
def work():
    connection = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
    while True:
        connection.request("GET", "/2018-06-01/runtime/invocation/next")
        answer = connection.getresponse()
        request_id = answer.headers["Lambda-Runtime-Aws-Request-Id"]
        answer.read()
        barrier.wait(10)
        connection.request("POST", f"/2018-06-01/runtime/invocation/{request_id}/response", b'"met"')
        connection.getresponse().read()
for _ in range(int(os.environ["AWS_LAMBDA_MAX_CONCURRENCY"])):
    threading.Thread(target=work).start()
"""
    name = several(code.bootstrap(source), 3, Runtime="provided.al2023", Handler="x")
    for _ in range(2):
        assert [payload for payload, _ in at_once(client, name, [{}] * 3)] == ["met"] * 3


# Answers, or never does, or ends a while later, as each event says.
OBEYS = """#!/usr/bin/env python3
import http.client, json, os, threading
def work():
    connection = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
    while True:
        connection.request("GET", "/2018-06-01/runtime/invocation/next")
        answer = connection.getresponse()
        request_id = answer.headers["Lambda-Runtime-Aws-Request-Id"]
        event = json.loads(answer.read())
        if "exit" in event:
            threading.Timer(event["exit"], os._exit, [3]).start()
        if event.get("never"):
            threading.Event().wait()
        connection.request("POST", f"/2018-06-01/runtime/invocation/{request_id}/response", b'"done"')
        connection.getresponse().read()
for _ in range(int(os.environ["AWS_LAMBDA_MAX_CONCURRENCY"])):
    threading.Thread(target=work).start()
"""


def obeying(several, most, **settings):
    package = code.bootstrap(OBEYS)
    return several(package, most, Runtime="provided.al2023", Handler="x", Timeout=1, **settings)


def test_a_call_that_is_never_answered_ends_with_its_processes(client, several):
    name = obeying(several, 2)
    client.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=1)
    assert "FunctionError" in call(client, name, {"never": True, "exit": 2})[1]

    def done():
        try:
            return call(client, name)[0] == "done"
        except client.exceptions.TooManyRequestsException:
            return False

    wait_until(done, "its unit of concurrency to come back")


def test_a_function_is_deleted_whole_while_a_call_is_never_answered(client, several):
    mark = fresh_name("mark")
    name = obeying(several, 2, Environment={"Variables": {"MARK": mark}})
    assert call(client, name, {"never": True})[0]["errorType"] == "Sandbox.Timedout"
    assert with_variable(mark)
    client.delete_function(FunctionName=name)
    wait_until(lambda: not with_variable(mark), "its processes to end")


def test_a_call_that_is_sent_on_starts_once(client, logs, several):
    source = """#!/usr/bin/env python3
import http.client, os, threading
connection = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
connection.request("POST", "/2018-06-01/runtime/init/error", b'{"errorType": "Oil"}')
connection.getresponse().read()
threading.Event().wait()
"""
    name = several(code.bootstrap(source), 2, Runtime="provided.al2023", Handler="x")
    answers = at_once(client, name, [{}] * 2)
    assert [payload["errorType"] for payload, _ in answers] == ["Oil"] * 2
    ids = sorted(answer["ResponseMetadata"]["RequestId"] for _, answer in answers)
    everything = stored(logs, name, 6)

    def told(kind):
        return sorted(line["record"]["requestId"] for line in everything if line["type"] == kind)

    assert told("platform.start") == told("platform.report") == ids


def test_provisioned_concurrency_is_refused(client, several):
    name = several(MEETS, 2, Publish=True)
    message, status = refused(
        client, "InvalidParameterValueException", "put_provisioned_concurrency_config",
        FunctionName=name, Qualifier="1", ProvisionedConcurrentExecutions=1,
    )  # fmt: skip
    assert status == 400 and "capacity provider" in message


def test_environments_made_ahead_are_never_frozen(client, function, provider):
    """An alias with provisioned concurrency comes to point at a version that has several calls."""
    plain, managed = fresh_name("plain"), fresh_name("managed")
    name = function(MEETS, Publish=True, Environment={"Variables": {"MARK": plain}})
    client.create_alias(FunctionName=name, Name="live", FunctionVersion="1")
    alias = {"FunctionName": name, "Qualifier": "live"}
    client.put_provisioned_concurrency_config(**alias, ProvisionedConcurrentExecutions=1)
    config = {"CapacityProviderArn": provider, "PerExecutionEnvironmentMaxConcurrency": 2}
    client.update_function_configuration(
        FunctionName=name, Environment={"Variables": {"MARK": managed}},
        CapacityProviderConfig={"LambdaManagedInstancesCapacityProviderConfig": config},
    )  # fmt: skip
    client.get_waiter("function_updated_v2").wait(FunctionName=name, WaiterConfig={"Delay": 1})
    assert client.publish_version(FunctionName=name)["Version"] == "2"
    client.get_waiter("published_version_active").wait(
        FunctionName=name, Qualifier="2", WaiterConfig={"Delay": 1}
    )
    client.update_alias(FunctionName=name, Name="live", FunctionVersion="2")

    def ready():
        got = client.get_provisioned_concurrency_config(**alias)
        return got["Status"] == "READY" and with_variable(managed)

    wait_until(ready, "an environment of the second version", 60)
    wait_until(lambda: not with_variable(plain), "those of the first version to go")
    # Once an environment that became idle later is frozen, so would this one be.
    call(client, name, Qualifier="1")
    wait_until(lambda: {state(pid) for pid in with_variable(plain)} == {"T"}, "the first version to be frozen")
    assert "T" not in {state(pid) for pid in with_variable(managed)}
    assert call(client, name, Qualifier="live")[0]["init"] == "provisioned-concurrency"
