"""The Telemetry and Logs APIs, as extensions use them."""

import json
import re

import pytest
from harness import place
from harness.extensions import layer
from harness.functions import call, fresh_name
from harness.telemetry import LOGS, TELEMETRY, collector
from test_logs import logged

pytestmark = pytest.mark.skipif(
    place.isolation() != "namespaces", reason="sandbox.localdomain is a name of a sandbox's own"
)

PRINTING = """
import json
print("at init")

def handler(event, context):
    print(json.dumps({"level": "INFO", "message": "lit"}))
    if event.get("raise"):
        raise ValueError("out of oil")
    return "x" * 100
"""


def taken(client, logs, name, kind="platform.report"):
    """What the collector of a function took, told when its environment ends."""
    client.update_function_configuration(FunctionName=name, Description="new")
    lines = logged(logs, name, f'"type": "{kind}"')
    found = [line.removeprefix("spy took ") for line in lines if line.startswith("spy took ")]
    return lines, [json.loads(line) for line in found]


def only(events, kind):
    [event] = [event for event in events if event["type"] == kind]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", event["time"])
    return event["record"]


@pytest.mark.parametrize("protocol", ["HTTP", "TCP"])
@pytest.mark.parametrize("version", ["2022-07-01", "2022-12-13", "2025-01-29"])
def test_a_telemetry_extension_sees_everything(client, logs, function, protocol, version):
    arn = layer(client, fresh_name("otel"), spy=collector(TELEMETRY, version, protocol))
    name = function(PRINTING, Layers=[arn], LoggingConfig={"LogFormat": "JSON"})
    _, answer = call(client, name)
    request = answer["ResponseMetadata"]["RequestId"]
    _, events = taken(client, logs, name)
    trace = {"type": "X-Amzn-Trace-Id", "value": answer["ResponseMetadata"]["HTTPHeaders"]["x-amzn-trace-id"]}

    start = only(events, "platform.initStart")
    assert (start["initializationType"], start["phase"]) == ("on-demand", "init")
    assert (start["functionName"], start["functionVersion"]) == (name, "$LATEST")
    assert start["instanceMaxMemory"] == 128 << 20 and "[$LATEST]" in start["instanceId"]
    done = only(events, "platform.initRuntimeDone")
    assert (done["status"], done["phase"]) == ("success", "init")
    assert only(events, "platform.initReport")["metrics"]["durationMs"] > 0
    assert only(events, "platform.extension") == {
        "name": "spy", "state": "Ready", "events": ["INVOKE", "SHUTDOWN"],
    }  # fmt: skip
    assert only(events, "platform.telemetrySubscription") == {
        "name": "spy", "state": "Subscribed", "types": ["platform", "function", "extension"],
    }  # fmt: skip
    assert only(events, "platform.start") == {"requestId": request, "version": "$LATEST", "tracing": trace}
    done = only(events, "platform.runtimeDone")
    assert (done["requestId"], done["status"], done["tracing"]) == (request, "success", trace)
    assert done["metrics"]["producedBytes"] == 102 and done["metrics"]["durationMs"] > 0
    spans = [span["name"] for span in done["spans"]]
    assert spans == ["responseLatency", "responseDuration", "runtimeOverhead"]
    report = only(events, "platform.report")
    assert report["metrics"]["memorySizeMB"] == 128
    assert report["metrics"]["durationMs"] >= done["metrics"]["durationMs"]
    assert [span["name"] for span in report["spans"]] == ["extensionOverhead"]

    lines = [event["record"] for event in events if event["type"] == "function"]
    lit = {"level": "INFO", "message": "lit"}
    # JSON lines are objects since the second schema.
    assert lines == ["at init", lit if version > "2022-07-01" else json.dumps(lit)]
    kinds = [event["type"] for event in events]
    assert kinds[0] == "platform.initStart" and kinds[-1] == "platform.report"


@pytest.mark.parametrize("version", ["2020-08-15", "2021-03-18"])
def test_the_logs_api_has_its_own_events(client, logs, function, version):
    wait = "platform.runtimeDone" if version > "2020-08-15" else ""
    arn = layer(client, fresh_name("old"), spy=collector(LOGS, version, wait=wait))
    name = function(PRINTING, Layers=[arn])
    _, answer = call(client, name)
    request = answer["ResponseMetadata"]["RequestId"]
    lines, events = taken(client, logs, name)
    assert "LOGS\tName: spy\tState: Subscribed\tTypes: [Platform, Function, Extension]" in lines
    assert only(events, "platform.start") == {"requestId": request, "version": "$LATEST"}
    assert only(events, "platform.end") == {"requestId": request}
    report = only(events, "platform.report")
    assert report["requestId"] == request and "status" not in report
    assert {"durationMs", "billedDurationMs", "memorySizeMB", "initDurationMs"} <= set(report["metrics"])
    assert only(events, "platform.logsSubscription")["name"] == "spy"
    kinds = {event["type"] for event in events}
    assert ("platform.runtimeDone" in kinds) == bool(wait)
    assert not {"platform.initStart", "platform.telemetrySubscription"} & kinds


def test_failures_are_told(client, logs, function):
    arn = layer(client, fresh_name("otel"), spy=collector(TELEMETRY, "2022-12-13"))
    name = function(PRINTING, Layers=[arn])
    call(client, name, {"raise": True})
    lines, events = taken(client, logs, name)
    assert "TELEMETRY\tName: spy\tState: Subscribed\tTypes: [Platform, Function, Extension]" in lines
    for kind in "platform.runtimeDone", "platform.report":
        assert only(events, kind)["status"] == "error"


ASKING = """
register("INVOKE")

def ask(api, body, headers={}):
    status, _, body = send("PUT", api, body, headers)
    return [status, json.loads(body)]

http_to = lambda uri: {"protocol": "HTTP", "URI": uri}
good = {"schemaVersion": "2022-07-01", "types": ["platform"], "destination": http_to("http://sandbox.localdomain:4243")}
answers = {}
for name, change in {
    "version": {"schemaVersion": "2019-01-01"},
    "types": {"types": []},
    "bytes": {"buffering": {"maxBytes": 1}},
    "host": {"destination": http_to("http://169.254.169.254")},
}.items():
    answers[name] = ask("/2022-07-01/telemetry", {**good, **change})
kept = me.pop("Lambda-Extension-Identifier")
answers["nobody"] = ask("/2022-07-01/telemetry", good)
me["Lambda-Extension-Identifier"] = "01234567-89ab-cdef-0123-456789abcdef"
answers["unknown"] = ask("/2022-07-01/telemetry", good)
me["Lambda-Extension-Identifier"] = kept
next_event()
answers["late"] = ask("/2022-07-01/telemetry", good)
answers["late logs"] = ask("/2020-08-15/logs", {**good, "schemaVersion": "2020-08-15"})
say("answers", json.dumps(answers))
while True:
    next_event()
"""


def test_subscriptions_are_refused_as_on_aws(client, logs, function):
    name = function(PRINTING, Layers=[layer(client, fresh_name("ask"), spy=ASKING)])
    call(client, name)
    lines = logged(logs, name, "spy answers")
    line = next(line for line in lines if line.startswith("spy answers "))
    answers = json.loads(line.removeprefix("spy answers "))
    for kind in "version", "types", "bytes", "host":
        status, body = answers[kind]
        assert (status, body["errorType"]) == (400, "ValidationError"), kind
    refused = {
        "nobody": ("Extension.MissingExtensionIdentifier", "Missing Lambda-Extension-Identifier header"),
        "unknown": (
            "Extension.UnknownExtensionIdentifier",
            "Unknown extension 01234567-89ab-cdef-0123-456789abcdef",
        ),
        "late": ("Telemetry.SubscriptionClosed", "Telemetry API subscription is closed already"),
        "late logs": ("Logs.SubscriptionClosed", "Logs API subscription is closed already"),
    }  # fmt: skip
    for kind, (error, message) in refused.items():
        assert answers[kind] == [403, {"errorMessage": message, "errorType": error}]


DEAF = """
import socket
register("INVOKE")
deaf = socket.create_server(("sandbox.localdomain", 4244))
send("PUT", "/2022-07-01/telemetry", {
    "schemaVersion": "2022-12-13", "types": ["function"],
    "buffering": {"timeoutMs": 25},
    "destination": {"protocol": "TCP", "port": 4244}})
while True:
    next_event()
"""

CHATTY = """
def handler(event, context):
    for n in range(event["lines"]):
        print(n, "x" * 1000)
    return "done"
"""


def test_one_who_does_not_read_holds_up_nobody(client, logs, function):
    spies = {"deaf": DEAF, "spy": collector(TELEMETRY, "2022-12-13")}
    name = function(CHATTY, Layers=[layer(client, fresh_name("two"), **spies)], Timeout=60)
    for _ in range(2):
        # Whoever waits for the log finds the environment free again.
        result, answer = call(client, name, {"lines": 10_000}, LogType="Tail")
        assert "FunctionError" not in answer, result
    events = taken(client, logs, name)[1]
    # The one that reads saw both calls to their ends.
    assert sum(event["type"] == "platform.runtimeDone" for event in events) == 2
