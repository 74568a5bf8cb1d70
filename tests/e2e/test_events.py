"""Calls that nobody waits for: stored before the answer, tried again, brought to their end."""

import json
import subprocess
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import pytest
from botocore.exceptions import ClientError
from harness.functions import deploy
from harness.leftovers import wait_until
from harness.server import clean_environment

# Seconds instead of minutes, so that a test can wait for all attempts.
SOON = "[events]\nretry_seconds = [0.2, 0.4]\n"

# Says what it got on one line of its log, and fails as often as it is told to.
TELLS = """
import json, os, time

def handler(event, context):
    event = event if isinstance(event, dict) else {}
    seen = {"id": context.aws_request_id, "event": event, "arn": context.invoked_function_arn,
            "trace": os.environ.get("_X_AMZN_TRACE_ID")}
    print("SEEN " + json.dumps(seen))
    time.sleep(event.get("sleep", 0))
    if event.get("fail"):
        raise RuntimeError("no luck with " + str(event["fail"]))
    return {"got": event}
"""


def send(client, name, event=None, **settings):
    """Sends an event; returns its request id."""
    answer = client.invoke(
        FunctionName=name, InvocationType="Event", Payload=json.dumps({} if event is None else event), **settings
    )
    assert answer["StatusCode"] == 202
    assert answer["Payload"].read() == b""
    assert "FunctionError" not in answer and "ExecutedVersion" not in answer
    return answer["ResponseMetadata"]["RequestId"]


class Observer:
    """What functions of a server have seen, from their logs."""

    def __init__(self, server):
        self.logs = server.client("logs")

    def seen(self, name):
        try:
            pages = self.logs.get_paginator("filter_log_events").paginate(
                logGroupName=f"/aws/lambda/{name}", filterPattern="SEEN"
            )
            found = [event for page in pages for event in page["events"]]
        except self.logs.exceptions.ResourceNotFoundException:
            return []
        return [json.loads(event["message"].split("SEEN ", 1)[1]) for event in found]

    def times(self, name, request_id):
        return sum(1 for seen in self.seen(name) if seen["id"] == request_id)


@pytest.fixture(scope="module")
def soon(servers):
    return servers(config=SOON)


@pytest.fixture(scope="module")
def lamp(soon):
    return soon.client()


@pytest.fixture(scope="module")
def observer(soon):
    return Observer(soon)


@pytest.fixture(scope="module")
def tells(lamp):
    return deploy(lamp, TELLS)


def test_an_event_is_answered_at_once_and_runs(lamp, observer, tells):
    request_id = send(lamp, tells, {"n": 1})
    wait_until(lambda: observer.times(tells, request_id), "the event to run")
    [seen] = [seen for seen in observer.seen(tells) if seen["id"] == request_id]
    assert seen["event"] == {"n": 1}
    assert seen["arn"].endswith(f":function:{tells}")


def test_invoke_async_of_2014(lamp, observer, tells):
    answer = lamp.invoke_async(FunctionName=tells, InvokeArgs=b'{"old": true}')
    assert answer["Status"] == 202
    request_id = answer["ResponseMetadata"]["RequestId"]
    wait_until(lambda: observer.times(tells, request_id), "the event to run")


def test_client_context_is_not_passed_on_and_empty_is_an_object(lamp, observer, tells):
    answer = lamp.invoke(FunctionName=tells, InvocationType="Event")
    request_id = answer["ResponseMetadata"]["RequestId"]
    wait_until(lambda: observer.times(tells, request_id), "the event to run")
    assert [s["event"] for s in observer.seen(tells) if s["id"] == request_id] == [{}]


def test_a_failing_event_is_tried_three_times_with_the_same_id(lamp, observer, tells):
    request_id = send(lamp, tells, {"fail": "x"})
    wait_until(lambda: observer.times(tells, request_id) == 3, "three attempts")


def test_retries_are_configured_by_qualifier(lamp, observer):
    name = deploy(lamp, TELLS, Publish=True)
    lamp.put_function_event_invoke_config(FunctionName=name, Qualifier="1", MaximumRetryAttempts=0)
    once = send(lamp, name, {"fail": "once"}, Qualifier="1")
    thrice = send(lamp, name, {"fail": "thrice"})
    wait_until(lambda: observer.times(name, thrice) == 3, "three attempts")
    assert observer.times(name, once) == 1
    [seen] = [seen for seen in observer.seen(name) if seen["id"] == once]
    assert seen["arn"].endswith(":1")


def refused(operation, **members):
    with pytest.raises(ClientError) as caught:
        operation(**members)
    error = caught.value.response
    return error["ResponseMetadata"]["HTTPStatusCode"], error["Error"]["Code"], error["Error"]["Message"]


def test_what_is_refused_is_not_stored(lamp, tells):
    big = json.dumps("x" * (1024 * 1024))
    status, error, message = refused(lamp.invoke, FunctionName=tells, InvocationType="Event", Payload=big)
    assert (status, error) == (413, "RequestTooLargeException")
    assert message == "1048578 byte payload is too large for the Event invocation type (limit 1048576 bytes)"
    status, error, _ = refused(lamp.invoke, FunctionName=tells, InvocationType="Event", Payload=b"{")
    assert (status, error) == (400, "InvalidRequestContentException")
    status, error, _ = refused(lamp.invoke, FunctionName="missing", InvocationType="Event")
    assert (status, error) == (404, "ResourceNotFoundException")
    fits = json.dumps("x" * (1024 * 1024 - 2))
    assert lamp.invoke(FunctionName=tells, InvocationType="Event", Payload=fits)["StatusCode"] == 202


def test_a_long_event_does_not_hold_up_another_function(lamp, observer, tells):
    """L2: events of one function wait, and another's go on."""
    slow = deploy(lamp, TELLS, Timeout=60)
    for _ in range(30):
        send(lamp, slow, {"sleep": 1})
    request_id = send(lamp, tells, {"quick": True})
    wait_until(lambda: observer.times(tells, request_id), "the other function's event")
    assert len(observer.seen(slow)) < 30


def traced(client, trace_id):
    def add(request, **_):
        request.headers["X-Amzn-Trace-Id"] = trace_id

    client.meta.events.register("before-sign.lambda.Invoke", add)
    return client


def test_a_loop_is_stopped_after_sixteen_calls(soon, lamp, observer):
    """F11: also one of events, unless it is wanted."""
    name = deploy(lamp, TELLS)
    trace, called = "Root=1-5759e988-bd862e3fe1be46a994272793;Sampled=0", 0
    for _ in range(16):
        answer = traced(soon.client(), trace).invoke(FunctionName=name)
        trace = answer["ResponseMetadata"]["HTTPHeaders"]["x-amzn-trace-id"]
        called += 1
    assert called == 16 and "Lineage=" in trace
    status, error, message = refused(traced(soon.client(), trace).invoke, FunctionName=name)
    assert (status, error) == (400, "RecursiveInvocationException"), message
    # An event is taken in, but does not run.
    stopped = send(traced(soon.client(), trace), name)
    lamp.put_function_recursion_config(FunctionName=name, RecursiveLoop="Allow")
    allowed = send(traced(soon.client(), trace), name)
    wait_until(lambda: observer.times(name, allowed), "the loop that is wanted")
    assert observer.times(name, stopped) == 0


def test_events_survive_a_kill(own_server):
    server = own_server(config=SOON)
    client = server.client()
    name = deploy(client, TELLS, Timeout=30)
    with ThreadPoolExecutor(8) as pool:
        ids = list(pool.map(lambda n: send(client, name, {"n": n, "sleep": 0.05}), range(200)))
    assert len(set(ids)) == 200
    server.kill()
    server.start()
    observer = Observer(server)
    wait_until(lambda: {s["id"] for s in observer.seen(name)} >= set(ids), "every event to run", 90)


# --- the ends -------------------------------------------------------------------------------------


def desk(server, *arguments, fails=False):
    """`lamplight events` of a server: the JSON lines that it prints."""
    command = [str(server.binary), "events", *arguments, "--data-dir", str(server.data_dir)]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=60, env=clean_environment())
    assert (ran.returncode != 0) == fails, ran.stderr
    return [json.loads(line) for line in ran.stdout.splitlines() if line.startswith("{")]


def ended(server, request_id, seconds=20):
    """The terminal record of an event, once there is one."""

    def record():
        ran = subprocess.run(
            [str(server.binary), "events", "show", request_id, "--data-dir", str(server.data_dir)],
            capture_output=True, text=True, timeout=60, env=clean_environment(),
        )  # fmt: skip
        known = [json.loads(line) for line in ran.stdout.splitlines()]
        return [one for one in known if one["Stage"] == "Ended"]

    [only] = wait_until(record, "the terminal record", seconds)
    return only


def queue(soon, name):
    sqs = soon.client("sqs")
    url = sqs.create_queue(QueueName=name)["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    return sqs, url, arn


def receive(sqs, url):
    def one():
        answer = sqs.receive_message(QueueUrl=url, WaitTimeSeconds=2, MessageAttributeNames=["All"])
        return answer.get("Messages")

    [message] = wait_until(one, "a message", 30)
    sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    return message


def test_every_event_has_one_terminal_record(soon, lamp, tells):
    good, bad = send(lamp, tells, {"n": 2}), send(lamp, tells, {"fail": "y"})
    record = ended(soon, good)
    assert (record["End"], record["Attempts"]) == ("Succeeded", 1)
    assert record["FunctionArn"].endswith(f":function:{tells}")
    record = ended(soon, bad)
    assert (record["End"], record["Attempts"]) == ("RetriesExhausted", 3)
    assert record["Error"] == "no luck with y"
    listed = [one["RequestId"] for one in desk(soon, "list", "ended")]
    assert listed.count(good) == 1 and listed.count(bad) == 1


def test_outcomes_go_to_destinations(soon, lamp, observer):
    name, heir = deploy(lamp, TELLS), deploy(lamp, TELLS)
    heir_arn = lamp.get_function_configuration(FunctionName=heir)["FunctionArn"]
    sqs, url, queue_arn = queue(soon, "failures")
    lamp.put_function_event_invoke_config(
        FunctionName=name,
        MaximumRetryAttempts=1,
        DestinationConfig={"OnSuccess": {"Destination": heir_arn}, "OnFailure": {"Destination": queue_arn}},
    )
    good, bad = send(lamp, name, {"n": 3}), send(lamp, name, {"fail": "z"})
    [seen] = wait_until(lambda: observer.seen(heir), "the record of the success")
    record = seen["event"]
    assert record.pop("timestamp").endswith("Z")
    arn = lamp.get_function_configuration(FunctionName=name)["FunctionArn"]
    assert record == {
        "version": "1.0",
        "requestContext": {
            "requestId": good, "functionArn": f"{arn}:$LATEST", "condition": "Success",
            "approximateInvokeCount": 1,
        },
        "requestPayload": {"n": 3},
        "responseContext": {"statusCode": 200, "executedVersion": "$LATEST"},
        "responsePayload": {"got": {"n": 3}},
    }  # fmt: skip
    record = json.loads(receive(sqs, url)["Body"])
    assert record["requestContext"]["requestId"] == bad
    assert record["requestContext"]["condition"] == "RetriesExhausted"
    assert record["requestContext"]["approximateInvokeCount"] == 2
    assert record["responseContext"]["functionError"] == "Unhandled"
    assert record["responsePayload"]["errorMessage"] == "no luck with z"


def test_dead_letters(soon, lamp):
    sqs, url, arn = queue(soon, "dead")
    name = deploy(lamp, TELLS, DeadLetterConfig={"TargetArn": arn})
    request_id = send(lamp, name, {"fail": "dead"})
    message = receive(sqs, url)
    assert json.loads(message["Body"]) == {"fail": "dead"}
    attributes = message["MessageAttributes"]
    assert attributes["RequestID"] == {"StringValue": request_id, "DataType": "String"}
    assert attributes["ErrorCode"] == {"StringValue": "200", "DataType": "Number"}
    assert attributes["ErrorMessage"] == {"StringValue": "no luck with dead", "DataType": "String"}


def test_a_function_that_is_off_is_not_tried(soon, lamp, observer):
    sqs, url, arn = queue(soon, "off")
    name = deploy(lamp, TELLS, DeadLetterConfig={"TargetArn": arn})
    lamp.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=0)
    request_id = send(lamp, name, {"n": 1})
    assert receive(sqs, url)["MessageAttributes"]["ErrorCode"]["StringValue"] == "429"
    assert ended(soon, request_id)["End"] == "NoConcurrency"
    assert observer.seen(name) == []


def test_the_record_of_a_function_that_is_off(soon, lamp):
    sqs, url, arn = queue(soon, "off-record")
    name = deploy(lamp, TELLS)
    lamp.put_function_event_invoke_config(
        FunctionName=name, DestinationConfig={"OnFailure": {"Destination": arn}}
    )
    lamp.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=0)
    send(lamp, name, {"n": 1})
    record = json.loads(receive(sqs, url)["Body"])
    assert record["requestContext"]["condition"] == "ZeroReservedConcurrency"
    assert record["requestContext"]["approximateInvokeCount"] == 0


def test_what_runs_is_not_dropped(soon, lamp, observer, tells):
    request_id = send(lamp, tells, {"sleep": 4})
    wait_until(lambda: observer.times(tells, request_id), "the call")
    desk(soon, "drop", request_id, fails=True)
    record = ended(soon, request_id)
    assert (record["End"], record["Attempts"]) == ("Succeeded", 1)


def test_a_stop_is_not_the_failure_of_the_function(own_server):
    server = own_server(config=SOON)
    client, observer = server.client(), Observer(server)
    name = deploy(client, TELLS, Timeout=60)
    client.put_function_event_invoke_config(FunctionName=name, MaximumRetryAttempts=0)
    request_id = send(client, name, {"sleep": 24})
    wait_until(lambda: observer.times(name, request_id), "the call")
    # Longer than the stop waits for it.
    server.stop()
    server.start()
    observer = Observer(server)
    wait_until(lambda: observer.times(name, request_id) == 2, "the second call")
    record = ended(server, request_id, 60)
    assert (record["End"], record["Attempts"]) == ("Succeeded", 1)


def test_a_destination_that_refuses_is_waited_for(soon, lamp):
    """F5: its record is kept, listed, and sent again."""
    sqs, url, arn = queue(soon, "late")
    sqs.delete_queue(QueueUrl=url)
    name = deploy(lamp, TELLS)
    lamp.put_function_event_invoke_config(
        FunctionName=name, DestinationConfig={"OnSuccess": {"Destination": arn}}
    )
    request_id = send(lamp, name)
    assert ended(soon, request_id)["Destinations"] == [arn]

    def owed():
        known = desk(soon, "list", "delivering")
        return [one for one in known if one["RequestId"] == request_id and one.get("Refusal")]

    [waiting] = wait_until(owed, "a delivery that is refused")
    assert waiting["Destination"] == arn and not waiting["Parked"]
    _, url, _ = queue(soon, "late")
    desk(soon, "retry", request_id)
    assert json.loads(receive(sqs, url)["Body"])["requestContext"]["requestId"] == request_id


@pytest.mark.parametrize(
    "side, destination, service",
    [("OnSuccess", "arn:aws:events:us-east-1:000000000000:event-bus/default", "EventBridge"),
     ("OnFailure", "arn:aws:s3:::outcomes", "S3")],
)  # fmt: skip
def test_what_no_service_here_takes_is_kept_until_it_is_dropped(soon, lamp, side, destination, service):
    """F5: for ever impossible is parked, not lost."""
    name = deploy(lamp, TELLS)
    lamp.put_function_event_invoke_config(
        FunctionName=name, MaximumRetryAttempts=0, DestinationConfig={side: {"Destination": destination}}
    )
    request_id = send(lamp, name, {"fail": service} if side == "OnFailure" else {})
    ended(soon, request_id)

    def parked():
        known = desk(soon, "list", "delivering")
        return [one for one in known if one["RequestId"] == request_id and one["Parked"]]

    [kept] = wait_until(parked, "a delivery that is parked")
    assert kept["Destination"] == destination and f"{service} is not served here" in kept["Refusal"]
    desk(soon, "drop", request_id)
    assert parked() == []
    desk(soon, "drop", request_id, fails=True)
    desk(soon, "show", "nobody", fails=True)


def test_only_the_owner_looks_at_events(soon):
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(f"{soon.endpoint}/_lamplight/events")
    assert refused.value.code == 403
