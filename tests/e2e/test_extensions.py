"""Extensions: external and internal, what they are told, how they fail, and how they are ended."""

import base64
import json
import re

import pytest
import test_images
from harness import place, registry
from harness.extensions import layer
from harness.functions import call, deploy, fresh_name
from harness.leftovers import wait_until
from test_logs import logged, messages

TASK = """
import os, sys, time

def handler(event, context):
    if event.get("do") == "hang":
        time.sleep(60)
    if event.get("do") == "exit":
        os._exit(3)
    return {"stream": context.log_stream_name, "mark": mark()}

def mark():
    there = os.path.exists("/tmp/mark")
    open("/tmp/mark", "w").close()
    return there
"""

LISTENING = """
    say("registered", json.dumps(register("INVOKE", "SHUTDOWN")))
    while True:
        event = next_event()
        say(json.dumps(event))
        if event["eventType"] == "SHUTDOWN":
            sys.exit()
"""


def extended(client, function, source=TASK, mode=0o755, settings=None, **scripts):
    arn = layer(client, fresh_name("ext"), mode, **scripts)
    return function(source, Layers=[arn], **(settings or {}))


def said(lines, name):
    """What an extension printed as JSON."""
    found = [line.split(" ", 1)[1] for line in lines if line.startswith(f"{name} ")]
    return [json.loads(line) for line in found if line.startswith("{")]


def bad(client, name, event=None, **settings):
    result, answer = call(client, name, event, **settings)
    assert answer.get("FunctionError") == "Unhandled", result
    return result


def test_an_external_extension_is_told_of_calls_and_of_the_end(client, logs, function):
    name = extended(client, function, spy=LISTENING)
    result, answer = call(client, name)
    request = answer["ResponseMetadata"]["RequestId"]
    lines = logged(logs, name, "REPORT RequestId: ")
    about = next(line for line in lines if line.startswith("spy registered "))
    assert json.loads(about.removeprefix("spy registered ")) == {
        "functionVersion": "$LATEST", "functionName": name, "handler": "app.handler",
        "accountId": "000000000000",
    }  # fmt: skip
    assert "EXTENSION\tName: spy\tState: Ready\tEvents: [INVOKE, SHUTDOWN]" in lines
    [told] = said(lines, "spy")
    arn = client.get_function_configuration(FunctionName=name)["FunctionArn"]
    assert told["eventType"] == "INVOKE"
    assert (told["requestId"], told["invokedFunctionArn"]) == (request, arn)
    assert told["tracing"]["type"] == "X-Amzn-Trace-Id" and told["tracing"]["value"]
    # The environment of the old settings is ended.
    client.update_function_configuration(FunctionName=name, Description="new")
    lines = logged(logs, name, '"SHUTDOWN"')
    assert said(lines, "spy")[-1]["shutdownReason"] == "spindown"
    assert said(lines, "spy")[-1]["deadlineMs"] > told["deadlineMs"] - 60_000


def test_extensions_do_not_see_what_is_the_runtimes_own(client, logs, function):
    name = extended(
        client, function, settings={"Environment": {"Variables": {"STAGE": "test"}}},
        spy="""
        say("sees", json.dumps(sorted(os.environ)))
        register("INVOKE")
        while True:
            next_event()
        """,
    )  # fmt: skip
    call(client, name)
    lines = logged(logs, name, "spy sees")
    line = next(line for line in lines if line.startswith("spy sees"))
    seen = set(json.loads(line.removeprefix("spy sees ")))
    assert {
        "AWS_LAMBDA_RUNTIME_API", "AWS_LAMBDA_FUNCTION_NAME", "AWS_REGION", "AWS_ACCESS_KEY_ID",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "AWS_LAMBDA_INITIALIZATION_TYPE", "STAGE", "PATH",
    } <= seen  # fmt: skip
    hidden = {
        "_HANDLER", "AWS_EXECUTION_ENV", "AWS_LAMBDA_LOG_GROUP_NAME", "AWS_LAMBDA_LOG_STREAM_NAME",
        "AWS_XRAY_CONTEXT_MISSING", "AWS_XRAY_DAEMON_ADDRESS", "LAMBDA_RUNTIME_DIR",
        "LAMBDA_TASK_ROOT",
    }  # fmt: skip
    assert not hidden & seen


def test_the_caller_has_its_answer_before_extensions_are_done(client, logs, function):
    name = extended(
        client, function,
        slow="""
        register("INVOKE")
        next_event()
        while True:
            time.sleep(5)
            say("done")
            next_event()
        """,
    )  # fmt: skip
    first, _ = call(client, name)
    assert "slow done" not in messages(logs, name)
    # Its environment is still at work, so this call gets another.
    second, _ = call(client, name)
    assert second["stream"] != first["stream"]
    lines = logged(logs, name, "REPORT RequestId: ", 2)
    took = [float(line.split("Duration: ")[1].split()[0]) for line in lines if "REPORT" in line]
    assert all(one >= 5000 for one in took), took
    # Whoever wants the log waits for the whole of it.
    _, answer = call(client, name, LogType="Tail")
    assert "REPORT" in base64.b64decode(answer["LogResult"]).decode()


def test_a_call_that_extensions_do_not_finish_times_out(client, logs, function):
    name = extended(
        client, function, settings={"Timeout": 2},
        stuck="""
        register("INVOKE", "SHUTDOWN")
        next_event()
        time.sleep(60)
        """,
    )  # fmt: skip
    first, answer = call(client, name)
    assert "FunctionError" not in answer
    lines = logged(logs, name, "REPORT RequestId: ")
    assert any(line.endswith("Task timed out after 2.00 seconds") for line in lines)
    report = next(line for line in lines if "REPORT" in line)
    assert "Duration: 2000.00 ms" in report and "Status: timeout" in report

    def back():
        again, _ = call(client, name)
        return again["stream"] == first["stream"] and again

    assert wait_until(back, "the environment is used again")["mark"]


INNER = """
import http.client, json, os, threading

def send(method, path, body=None, headers={}):
    connection = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
    connection.request(method, "/2020-01-01/extension/" + path, body, headers)
    answer = connection.getresponse()
    return answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read().decode()

def register(name, body='{"events":["INVOKE"]}'):
    status, headers, text = send("POST", "register", body, {"Lambda-Extension-Name": name})
    return status, headers.get("lambda-extension-identifier"), text

def loop(me):
    while True:
        events.append(send("GET", "event/next", None, {"Lambda-Extension-Identifier": me}))

events = []
answers = {}
NOBODY = "01234567-89ab-cdef-0123-456789abcdef"

def ask(what, *arguments, **settings):
    status, _, text = send(*arguments, **settings)
    answers[what] = [status, json.loads(text)]

def refused(what, name, body):
    status, _, text = register(name, body)
    answers[what] = [status, json.loads(text)]

ident = "Lambda-Extension-Identifier"
refused("no name", "", "{}")
refused("no body", "inner", "")
refused("no json", "inner", "events")
refused("keys", "inner", '{"events":[],"configurationKeys":["a"]}')
refused("event", "inner", '{"events":["NAP"]}')
refused("shutdown", "inner", '{"events":["SHUTDOWN"]}')
ask("no id", "GET", "event/next")
ask("odd id", "GET", "event/next", headers={ident: "me"})
ask("unknown", "GET", "event/next", headers={ident: NOBODY})
ask("unknown init", "POST", "init/error", headers={ident: NOBODY, "Lambda-Extension-Function-Error-Type": "A.B"})
ask("no type", "POST", "exit/error", headers={ident: NOBODY})
_, first, _ = register("inner-0")
refused("twice", "inner-0", "{}")
ids = [first] + [register(f"inner-{n}")[1] for n in range(1, 10)]
refused("eleventh", "inner-10", "{}")
for one in ids:
    threading.Thread(target=loop, args=[one], daemon=True).start()

def handler(event, context):
    if event.get("late"):
        refused("late", "inner-11", "{}")
    return {"answers": answers, "ids": ids, "events": [json.loads(text)["requestId"] for _, _, text in events]}
"""


def test_the_extensions_api_refuses_in_awss_words(client, logs, function):
    name = function(INNER)
    call(client, name)
    result, answer = call(client, name, {"late": True})
    assert "FunctionError" not in answer, result
    assert len(set(result["ids"])) == 10
    nobody = "01234567-89ab-cdef-0123-456789abcdef"
    expected = {
        "no name": ("Extension.InvalidExtensionName", "Empty extension name"),
        "no body": ("InvalidRequestFormat", "unexpected end of JSON input"),
        "no json": (
            "InvalidRequestFormat", "invalid character 'e' looking for beginning of value",
        ),
        "keys": (
            "InvalidRequestFormat",
            "configurationKeys are deprecated; use environment variables instead",
        ),
        "event": ("Extension.InvalidEventType", "NAP: ErrorInvalidEventType"),
        "shutdown": (
            "Extension.InvalidEventType", "SHUTDOWN: ShutdownEventNotSupportedForInternalExtension",
        ),
        "no id": (
            "Extension.MissingExtensionIdentifier", "Missing Lambda-Extension-Identifier header",
        ),
        "odd id": ("Extension.InvalidExtensionIdentifier", "Invalid Lambda-Extension-Identifier"),
        "unknown": ("Extension.UnknownExtensionIdentifier", f"Unknown extension {nobody}"),
        "unknown init": (
            "Extension.UnknownExtensionIdentifier", "Unknown Lambda-Extension-Identifier",
        ),
        "no type": ("Extension.MissingHeader", "Lambda-Extension-Function-Error-Type not found"),
        "twice": (
            "Extension.InvalidExtensionState", "Extension with this name already registered",
        ),
        "eleventh": ("Extension.TooManyExtensions", "Extension limit (10) reached"),
        "late": ("Extension.RegistrationClosed", "Extension registration closed already"),
    }  # fmt: skip
    got = {what: (body["errorType"], body["errorMessage"]) for what, (_, body) in result["answers"].items()}
    assert got == expected
    assert {status for status, _ in result["answers"].values()} == {403}
    lines = logged(logs, name, "EXTENSION", 10)
    assert "EXTENSION\tName: inner-9\tState: Ready\tEvents: [INVOKE]" in lines


@pytest.mark.skipif(place.isolation() != "namespaces", reason="the machine's /tmp keeps the mark")
def test_a_crash_of_an_extension_is_the_functions(client, logs, function):
    name = extended(
        client, function,
        weak="""
        register("INVOKE")
        next_event()
        if not os.path.exists("/tmp/mark"):
            open("/tmp/mark", "w").close()
            sys.exit(7)
        while True:
            next_event()
        """, source="""
        import os, time
        def handler(event, context):
            while not event.get("quick"):
                time.sleep(1)
            return os.path.exists("/tmp/mark")
        """,
    )  # fmt: skip
    # With the log the answer comes when the environment is free again.
    result = bad(client, name, LogType="Tail")
    assert result["errorType"] == "Extension.Crash"
    assert re.fullmatch(r"RequestId: \S+ Error: exit status 7", result["errorMessage"])
    assert "Error Type: Extension.Crash" in "\n".join(logged(logs, name, "REPORT RequestId: "))
    # The environment and its /tmp stay.
    assert call(client, name, {"quick": True})[0] is True


def test_failures_of_extensions_in_initialisation(client, logs, function):
    failing = {
        "Extension.Crash": ("sys.exit()", "exit code 0", "Started", None),
        "Extension.InitError": (
            'register(); print(fail("init", "Spy.NoConfig")); sys.exit(1)', "exit status 1",
            "InitError", "Spy.NoConfig",
        ),
        "Extension.ExitError": (
            'register(); print(fail("exit", "Spy.Lost")); sys.exit(2)', "exit status 2",
            "ExitError", "Spy.Lost",
        ),
    }  # fmt: skip
    for kind, (script, why, state, error) in failing.items():
        name = extended(client, function, spy=script)
        result = bad(client, name)
        assert result["errorType"] == kind
        assert result["errorMessage"].endswith(f" Error: {why}")
        lines = logged(logs, name, "REPORT RequestId: ")
        ending = f"\tError Type: {error}" if error else ""
        assert f"EXTENSION\tName: spy\tState: {state}\tEvents: []{ending}" in lines
        init = next(line for line in lines if line.startswith("INIT_REPORT"))
        assert init.endswith(f"Phase: init\tStatus: error\tError Type: {kind}")


def test_extensions_that_cannot_be_started(client, logs, function):
    name = extended(client, function, mode=0o644, spy="sys.exit()")
    result = bad(client, name)
    assert result["errorType"] == "Extension.LaunchError"
    assert result["errorMessage"].endswith("fork/exec /opt/extensions/spy: permission denied")
    lines = logged(logs, name, "REPORT RequestId: ")
    line = "EXTENSION\tName: spy\tState: LaunchError\tEvents: []\tError Type: PermissionDenied"
    assert line in lines
    many = extended(client, function, **{f"spy{n}": LISTENING for n in range(11)})
    assert bad(client, many)["errorType"] == "Extension.LaunchError"
    assert any("Error Type: TooManyExtensions" in line for line in logged(logs, many, "REPORT"))


def test_extensions_hear_why_everything_ends(client, logs, function):
    for event, reason in ({"do": "hang"}, "timeout"), ({"do": "exit"}, "failure"):
        name = extended(client, function, settings={"Timeout": 2}, spy=LISTENING)
        bad(client, name, event)
        lines = logged(logs, name, '"SHUTDOWN"')
        assert said(lines, "spy")[-1]["shutdownReason"] == reason
        again, answer = call(client, name)
        assert "FunctionError" not in answer, again


TERMINATED = """
import signal, sys

def leave(*_):
    print("told to leave")
    sys.exit()

signal.signal(signal.SIGTERM, leave)

def handler(event, context):
    return 1
"""


def test_the_runtime_is_asked_to_end_only_with_extensions(client, logs, function):
    asked = extended(client, function, TERMINATED, spy=LISTENING)
    not_asked = function(TERMINATED)
    for name in asked, not_asked:
        call(client, name)
        client.update_function_configuration(FunctionName=name, Description="new")
    logged(logs, asked, "told to leave")
    # Its environment was ended before that of the other one, which takes its time.
    assert "told to leave" not in messages(logs, not_asked)


def test_what_does_not_end_is_killed(own_server):
    server = own_server()
    client = server.client()
    name = fresh_name()
    arn = layer(
        client, "stubborn",
        stubborn="""
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        register("SHUTDOWN")
        next_event()
        if os.fork():
            time.sleep(3600)
        os.setsid()
        time.sleep(3600)
        """,
    )  # fmt: skip
    deploy(client, "def handler(e, c): return 1", FunctionName=name, Layers=[arn])
    call(client, name)
    # Ending the server checks that nothing is left.
    server.stop()


def test_two_layers_bring_two_extensions(client, logs, function):
    first = layer(client, fresh_name("ext"), one=LISTENING)
    second = layer(client, fresh_name("ext"), two="register()\nnext_event()\n")
    name = function(TASK, Layers=[first, second])
    # Whoever waits for the log finds the environment free again.
    call(client, name, LogType="Tail")
    call(client, name)
    lines = logged(logs, name, "REPORT RequestId: ", 2)
    ready = [line for line in lines if line.startswith("EXTENSION")]
    assert ready == [
        "EXTENSION\tName: one\tState: Ready\tEvents: [INVOKE, SHUTDOWN]",
        "EXTENSION\tName: two\tState: Ready\tEvents: []",
    ]
    assert len(said(lines, "one")) == 2


INSIDE = """
import http.client, json, os, signal, sys, threading

def send(method, path, body=None, headers={}):
    connection = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
    connection.request(method, "/2020-01-01/extension/" + path, body, headers)
    answer = connection.getresponse()
    return answer.headers["Lambda-Extension-Identifier"], answer.read()

me, _ = send("POST", "register", '{"events":["INVOKE"]}', {"Lambda-Extension-Name": "inner"})

def listen():
    while True:
        _, event = send("GET", "event/next", None, {"Lambda-Extension-Identifier": me})
        print("inner", event.decode())

def leave(*_):
    print("told to leave")
    sys.exit()

threading.Thread(target=listen, daemon=True).start()
signal.signal(signal.SIGTERM, leave)

def handler(event, context):
    return os.environ["AWS_LAMBDA_INITIALIZATION_TYPE"]
"""


def test_an_internal_extension_hears_calls_and_a_signal(client, logs, function):
    name = function(INSIDE)
    _, answer = call(client, name)
    lines = logged(logs, name, "REPORT RequestId: ")
    assert "EXTENSION\tName: inner\tState: Ready\tEvents: [INVOKE]" in lines
    [told] = said(lines, "inner")
    assert told["requestId"] == answer["ResponseMetadata"]["RequestId"]
    client.update_function_configuration(FunctionName=name, Description="new")
    logged(logs, name, "told to leave")


def test_extensions_of_environments_that_are_ready_ahead_of_calls(client, logs, function):
    arn = layer(client, fresh_name("ext"), spy=LISTENING)
    name = function(TASK, Layers=[arn], Publish=True)
    client.get_waiter("published_version_active").wait(
        FunctionName=name, Qualifier="1", WaiterConfig={"Delay": 1}
    )
    client.put_provisioned_concurrency_config(
        FunctionName=name, Qualifier="1", ProvisionedConcurrentExecutions=1
    )
    # Nobody has called it yet.
    lines = logged(logs, name, "EXTENSION")
    assert "EXTENSION\tName: spy\tState: Ready\tEvents: [INVOKE, SHUTDOWN]" in lines
    client.delete_provisioned_concurrency_config(FunctionName=name, Qualifier="1")
    assert said(logged(logs, name, '"SHUTDOWN"'), "spy")[-1]["shutdownReason"] == "spindown"


IN_BASH = r"""#!/bin/bash
server=/dev/tcp/${AWS_LAMBDA_RUNTIME_API/://}
body='{"events":["INVOKE"]}'
exec 3<>"$server"
printf 'POST /2020-01-01/extension/register HTTP/1.1\r\nHost: x\r\nConnection: close\r\n' >&3
printf 'Lambda-Extension-Name: spy\r\nContent-Length: %d\r\n\r\n%s' ${#body} "$body" >&3
while IFS= read -r -u 3 line && line=${line%$'\r'} && [ -n "$line" ]; do
  case ${line,,} in lambda-extension-identifier:*) id=${line#*: } ;; esac
done
exec 3>&-
while :; do
  exec 3<>"$server"
  printf 'GET /2020-01-01/extension/event/next HTTP/1.1\r\nHost: x\r\nConnection: close\r\n' >&3
  printf 'Lambda-Extension-Identifier: %s\r\n\r\n' "$id" >&3
  while IFS= read -r -u 3 line && line=${line%$'\r'} && [ -n "$line" ]; do :; done
  IFS= read -r -u 3 event
  exec 3>&-
  echo "spy $event"
done
"""


@pytest.mark.skipif(place.isolation() != "namespaces", reason="images need namespaces")
@pytest.mark.skipif(test_images.BASH is None, reason="no bash to make an image of")
def test_an_image_brings_its_extensions(client, logs):
    files = {
        **test_images.bash_and_its_libraries(), **test_images.BASE, "opt/extensions/spy": IN_BASH,
    }  # fmt: skip
    packed = registry.layer(files, {"bin": "usr/bin"}, {path: 0o755 for path in files})
    with registry.TinyRegistry() as tiny:
        tiny.push("extended", [packed], **test_images.CONFIG)
        name = test_images.create(client, f"{tiny.name}/app:extended")
    try:
        _, answer = call(client, name)
        lines = logged(logs, name, "REPORT RequestId: ")
        assert "EXTENSION\tName: spy\tState: Ready\tEvents: [INVOKE]" in lines
        [told] = said(lines, "spy")
        assert told["requestId"] == answer["ResponseMetadata"]["RequestId"]
    finally:
        client.delete_function(FunctionName=name)
