"""`LoggingConfig` with `LogFormat: JSON`: shapes and levels."""

import base64
import json
import re

import pytest
from harness import code, place
from harness.functions import call
from harness.leftovers import wait_until

CALLED = """
import logging

def handler(event, context):
    for level in ("debug", "info", "warning"):
        getattr(logging, level)("said at %s", level)
    for line in event.get("print", []):
        print(line)
    if "raise" in event:
        raise ValueError("no oil")
    return "lit"
"""


def json_logs(**levels):
    return {"LogFormat": "JSON", **levels}


def lines(answer):
    """The log of a call, as its caller got it: JSON where it is JSON."""
    return parsed(base64.b64decode(answer["LogResult"]).decode().splitlines())


def parsed(messages):
    return [json.loads(line) if line.startswith("{") else line for line in messages]


def kinds(all_lines):
    return [line["type"] for line in all_lines if isinstance(line, dict) and "type" in line]


def only(all_lines, kind):
    [line] = [line for line in all_lines if isinstance(line, dict) and line.get("type") == kind]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line["time"])
    return line["record"]


def stored(logs, name, count):
    """What is in the log group, as soon as it has this many events."""

    def there():
        try:
            events = logs.filter_log_events(logGroupName=f"/aws/lambda/{name}")["events"]
        except logs.exceptions.ResourceNotFoundException:
            return None
        return parsed([one["message"] for one in events]) if len(events) >= count else None

    return wait_until(there, f"{count} events in the log of {name}")


def said(all_lines):
    return [line["message"] for line in all_lines if isinstance(line, dict) and "message" in line]


def test_platform_lines_are_telemetry_events(client, logs, function):
    name = function(CALLED, LoggingConfig=json_logs())
    _, answer = call(client, name, LogType="Tail")
    request_id = answer["ResponseMetadata"]["RequestId"]
    tail = lines(answer)
    assert kinds(tail) == ["platform.start", "platform.report"]
    assert only(tail, "platform.start") == {"requestId": request_id, "version": "$LATEST"}
    report = only(tail, "platform.report")
    assert (report["requestId"], report["status"]) == (request_id, "success")
    metrics = report["metrics"]
    assert metrics["memorySizeMB"] == 128
    assert 0 < metrics["durationMs"] and 0 < metrics["initDurationMs"]
    total = metrics["durationMs"] + metrics["initDurationMs"]
    assert total <= metrics["billedDurationMs"] < total + 1.01
    # INFO is the level of both where nothing is said.
    assert said(tail) == ["said at info", "said at warning"]
    everything = stored(logs, name, 5)
    assert everything[1:] == tail
    start = only(everything, "platform.initStart")
    assert start["runtimeVersion"].startswith("python:")
    assert start["runtimeVersionArn"].startswith("arn:aws:lambda:us-east-1::runtime:")
    assert (start["functionName"], start["functionVersion"]) == (name, "$LATEST")
    assert (start["initializationType"], start["phase"]) == ("on-demand", "init")


def test_debug_tells_of_every_phase(client, logs, function):
    name = function(CALLED, LoggingConfig=json_logs(SystemLogLevel="DEBUG"))
    _, answer = call(client, name, LogType="Tail")
    everything = stored(logs, name, 8)
    assert kinds(everything) == [
        "platform.initStart", "platform.initRuntimeDone", "platform.initReport",
        "platform.start", "platform.runtimeDone", "platform.report",
    ]  # fmt: skip
    assert only(everything, "platform.initRuntimeDone")["status"] == "success"
    assert only(everything, "platform.initReport")["metrics"]["durationMs"] > 0
    done = only(everything, "platform.runtimeDone")
    assert (done["status"], done["metrics"]["producedBytes"]) == ("success", len('"lit"'))
    assert kinds(lines(answer)) == kinds(everything)[3:]


def test_warn_tells_only_of_trouble(client, function):
    name = function(CALLED, LoggingConfig=json_logs(SystemLogLevel="WARN"))
    assert kinds(lines(call(client, name, LogType="Tail")[1])) == []
    tail = lines(call(client, name, {"raise": True}, LogType="Tail")[1])
    assert kinds(tail) == ["platform.runtimeDone", "platform.report"]
    assert only(tail, "platform.report")["status"] == "error"
    error = next(line for line in tail if isinstance(line, dict) and line.get("level") == "ERROR")
    assert (error["errorType"], error["errorMessage"]) == ("ValueError", "no oil")


def test_a_timeout_is_a_status(client, function):
    name = function(
        "import time\ndef handler(event, context):\n    time.sleep(60)\n",
        Timeout=1, LoggingConfig=json_logs(),
    )  # fmt: skip
    tail = lines(call(client, name, LogType="Tail")[1])
    report = only(tail, "platform.report")
    assert report["status"] == "timeout"
    assert report["metrics"]["durationMs"] == 1000
    assert only(tail, "platform.runtimeDone")["status"] == "timeout"
    assert all(isinstance(line, dict) for line in tail)


def test_a_failed_initialisation_is_a_warning(client, logs, function):
    name = function("import os\nos._exit(3)\n", LoggingConfig=json_logs())
    call(client, name)
    everything = stored(logs, name, 7)
    reports = [line["record"] for line in everything if line["type"] == "platform.initReport"]
    # It is done again within the call.
    assert [report["phase"] for report in reports] == ["init", "invoke"]
    for report in reports:
        assert (report["status"], report["errorType"]) == ("error", "Runtime.ExitError")


def test_levels_of_lines_that_no_client_filters(client, function):
    name = function(CALLED, LoggingConfig=json_logs(ApplicationLogLevel="ERROR"))
    at = "2026-11-22T12:00:00.000Z"
    wanted = [{"timestamp": at, "level": "ERROR", "message": "e"},
              {"timestamp": at, "level": "fatal", "message": "f"}, "plain text", "[1]"]  # fmt: skip
    unwanted = [{"timestamp": at, "level": "WARN", "message": "w"},
                {"timestamp": at, "level": "LOUD", "message": "unknown is INFO"},
                {"timestamp": "noon", "level": "ERROR", "message": "so is an odd time"},
                {"message": "and nothing at all"}]  # fmt: skip
    printed = [one if isinstance(one, str) else json.dumps(one) for one in wanted + unwanted]
    tail = lines(call(client, name, {"print": printed}, LogType="Tail")[1])
    assert [line for line in tail if not (isinstance(line, dict) and "type" in line)] == wanted


def test_text_has_no_levels(client, function):
    name = function(CALLED)
    line = '{"timestamp": "2026-11-22T12:00:00.000Z", "level": "TRACE", "message": "t"}'
    _, answer = call(client, name, {"print": [line]}, LogType="Tail")
    log = base64.b64decode(answer["LogResult"]).decode()
    assert line in log
    assert log.startswith("START RequestId: ")


@pytest.mark.skipif(place.node_runtime() is None, reason="no node on this machine")
def test_console_of_node(client, function):
    name = function(
        code.node("export const handler = async () => {\n"
                  "  console.debug('low'); console.log('at %d', 7); console.error('high');\n};\n"),
        Runtime=place.node_runtime(), Handler="index.handler",
        LoggingConfig=json_logs(ApplicationLogLevel="INFO"),
    )  # fmt: skip
    _, answer = call(client, name, LogType="Tail")
    tail = lines(answer)
    assert kinds(tail) == ["platform.start", "platform.report"]
    assert [(line["level"], line["message"]) for line in tail if "message" in line] == [
        ("INFO", "at 7"), ("ERROR", "high"),
    ]  # fmt: skip
    assert tail[1]["requestId"] == answer["ResponseMetadata"]["RequestId"]
