"""Invoke: payloads, invocation types, headers, limits."""

import base64
import http.client
import json
import re
import socket
import urllib.parse

import pytest
from harness import aws, code, place
from harness.functions import call, deploy, fresh_name
from harness.leftovers import wait_until

ECHO = "def handler(event, context):\n    return event\n"
CONTEXT = """
def handler(event, context):
    client = context.client_context
    return {
        "name": context.function_name,
        "version": context.function_version,
        "arn": context.invoked_function_arn,
        "memory": context.memory_limit_in_mb,
        "request": context.aws_request_id,
        "group": context.log_group_name,
        "stream": context.log_stream_name,
        "remaining": context.get_remaining_time_in_millis(),
        "custom": client.custom if client else None,
    }
"""


def invoke_path(name):
    return f"/2015-03-31/functions/{name}/invocations"


@pytest.fixture(scope="module")
def echo(client):
    name = deploy(client, ECHO, FunctionName=fresh_name("echo"))
    yield name
    client.delete_function(FunctionName=name)


@pytest.mark.parametrize(
    "event",
    [{}, None, 0, -1.5, "text", [], [1, {"a": None}], {"ü": "日本語 🏮"}, "\u0000\u001f\"\\/", True],
)
def test_payloads_come_back(client, echo, event):
    answer = client.invoke(FunctionName=echo, Payload=json.dumps(event))
    assert json.loads(answer["Payload"].read()) == event
    assert answer["StatusCode"] == 200
    assert answer["ExecutedVersion"] == "$LATEST"
    assert "FunctionError" not in answer


def test_no_payload_is_an_empty_object(client, echo):
    assert code.payload(client.invoke(FunctionName=echo)) == {}


def test_no_return_value_is_null(client, function):
    name = function("def handler(event, context):\n    pass\n")
    assert client.invoke(FunctionName=name)["Payload"].read() == b"null"


def test_payload_reaches_the_function_unchanged(client, function):
    """Numbers that no parser keeps: the platform does not re-write what it passes on."""
    name = function(
        code.bootstrap(
            """\
            #!/bin/sh
            api=http://$AWS_LAMBDA_RUNTIME_API/2018-06-01/runtime
            while :; do
                curl -s -D /tmp/head -o /tmp/event "$api/invocation/next" || exit 1
                id=$(grep -i '^lambda-runtime-aws-request-id:' /tmp/head | tr -d '\\r' | cut -d' ' -f2)
                curl -s -X POST --data-binary @/tmp/event "$api/invocation/$id/response" || exit 1
            done
            """
        ),
        Runtime="provided.al2023",
        Handler="any",
    )
    text = b'{ "a" : 1e308, "b": 12345678901234567890123, "a":2 }'
    answer = client.invoke(FunctionName=name, Payload=text)
    got = answer["Payload"].read()
    if answer.get("FunctionError") and b"127" in got:
        pytest.skip("there is no curl inside the sandbox")
    assert got == text


def test_dry_run(client, echo):
    answer = client.invoke(FunctionName=echo, InvocationType="DryRun")
    assert answer["StatusCode"] == 204
    assert answer["Payload"].read() == b""


def test_event_is_queued_or_refused_in_the_shape_of_aws(access, echo):
    """Never a 202 for what is not kept."""
    answer = aws.send(access, "POST", invoke_path(echo), b"{}", {"X-Amz-Invocation-Type": "Event"})
    if answer.status == 202:
        assert answer.body == b""
    else:
        assert 400 <= answer.status < 600
        assert answer.error.endswith("Exception")
        assert answer.message


def test_unknown_invocation_type(access, echo):
    answer = aws.send(access, "POST", invoke_path(echo), b"{}", {"X-Amz-Invocation-Type": "Later"})
    assert (answer.status, answer.error) == (400, "ValidationException")
    assert "'invocationType'" in answer.message


def test_headers(access, echo):
    answer = aws.send(access, "POST", invoke_path(echo), b'{"a":1}')
    assert (answer.status, answer.body) == (200, b'{"a": 1}')
    assert re.fullmatch(r"[0-9a-f-]{36}", answer.headers["x-amzn-RequestId"])
    assert answer.headers["X-Amz-Executed-Version"] == "$LATEST"
    assert answer.headers["X-Amz-Function-Error"] is None
    assert answer.headers["X-Amz-Log-Result"] is None


def test_log_tail(client, function):
    name = function("def handler(event, context):\n    print('a line of my own')\n")
    answer = client.invoke(FunctionName=name, LogType="Tail")
    request = answer["ResponseMetadata"]["RequestId"]
    tail = base64.b64decode(answer["LogResult"]).decode()
    assert f"START RequestId: {request} Version: $LATEST\n" in tail
    assert "a line of my own\n" in tail
    assert f"END RequestId: {request}\n" in tail
    assert f"REPORT RequestId: {request}\tDuration: " in tail


def test_log_tail_is_the_last_four_kilobytes(client, function):
    name = function("def handler(event, context):\n    print('x' * 9000)\n    print('the end')\n")
    answer = client.invoke(FunctionName=name, LogType="Tail")
    tail = base64.b64decode(answer["LogResult"])
    assert len(tail) <= 4096
    assert b"the end" in tail and b"REPORT RequestId: " in tail


def test_context(client, function):
    name = function(CONTEXT, Timeout=15, MemorySize=192)
    custom = {"custom": {"lamp": "on"}, "client": {"app_title": "street"}, "env": {}}
    got, answer = call(
        client, name, ClientContext=base64.b64encode(json.dumps(custom).encode()).decode()
    )
    arn = f"arn:aws:lambda:us-east-1:{aws.ACCOUNT}:function:{name}"
    assert got["name"] == name
    assert (got["version"], got["arn"]) == ("$LATEST", arn)
    assert int(got["memory"]) == 192
    assert got["request"] == answer["ResponseMetadata"]["RequestId"]
    assert got["group"] == f"/aws/lambda/{name}"
    assert re.fullmatch(r"\d{4}/\d\d/\d\d/\[\$LATEST\][0-9a-f]{32}", got["stream"])
    assert 0 < got["remaining"] <= 15_000
    assert got["custom"] == {"lamp": "on"}


def test_invoked_arn_has_the_qualifier_that_was_asked_for(client, function):
    name = function(CONTEXT)
    got, _ = call(client, name, Qualifier="$LATEST")
    assert got["arn"].endswith(f":function:{name}:$LATEST")


def test_qualifier_that_does_not_exist(client, echo):
    with pytest.raises(client.exceptions.ResourceNotFoundException) as caught:
        client.invoke(FunctionName=echo, Qualifier="42")
    assert f"function:{echo}:42" in str(caught.value)


@pytest.mark.parametrize("text", [b"{", b"not json", b"\x99\xeb,j", b'{"a":"\xff"}', b"{} {}"])
def test_payload_that_is_no_json(access, echo, text):
    answer = aws.send(access, "POST", invoke_path(echo), text)
    assert (answer.status, answer.error) == (400, "InvalidRequestContentException")
    assert answer.message.startswith("Could not parse request body into json: ")


def test_deep_payload_does_no_harm(access, echo):
    answer = aws.send(access, "POST", invoke_path(echo), b"[" * 100_000 + b"]" * 100_000)
    assert answer.status in (200, 400)
    assert aws.send(access, "POST", invoke_path(echo), b"1").body == b"1"


def test_payload_of_six_megabytes(client, echo):
    event = json.dumps("x" * (6 * 1024 * 1024 - 2))
    assert client.invoke(FunctionName=echo, Payload=event)["Payload"].read().decode() == event


def test_payload_too_large(access, echo):
    answer = aws.send(access, "POST", invoke_path(echo), b'"' + b"x" * (6 * 1024 * 1024) + b'"')
    # AWS: one name or the other, depending on which of its layers refuses.
    assert answer.status == 413
    assert answer.error in ("RequestTooLargeException", "RequestEntityTooLargeException")
    assert "6291456" in answer.message


def test_client_context_is_checked(access, echo):
    for text in ("***", base64.b64encode(b"not json").decode(), "x" * 4000):
        answer = aws.send(access, "POST", invoke_path(echo), b"{}", {"X-Amz-Client-Context": text})
        assert answer.status == 400, text


def test_missing_function(access):
    name = fresh_name("missing")
    answer = aws.send(access, "POST", invoke_path(name), b"{}")
    assert (answer.status, answer.error) == (404, "ResourceNotFoundException")
    arn = f"arn:aws:lambda:us-east-1:{aws.ACCOUNT}:function:{name}"
    assert answer.message in (f"Function not found: {arn}", f"Function not found: {arn}:$LATEST")


def test_runtime_that_is_not_there(client, function):
    """Says what is missing, at the creation or at the call; never hangs, never answers for it."""
    with pytest.raises(client.exceptions.ClientError) as caught:
        name = function(ECHO, Runtime="java21", Handler="app.Handler::run", wait=False)

        def ready():
            return client.get_function_configuration(FunctionName=name)["State"] != "Pending"

        wait_until(ready, "the end of Pending")
        client.invoke(FunctionName=name)
    assert "java21" in str(caught.value)


def test_from_the_command_line(server, echo, tmp_path):
    out = tmp_path / "out.json"
    done = aws.cli(server, "lambda", "invoke", "--function-name", echo, "--payload", '{"a":1}', str(out))
    assert json.loads(done.stdout)["StatusCode"] == 200
    assert json.loads(out.read_text()) == {"a": 1}


def test_from_version_two_of_the_command_line(server, echo, tmp_path):
    if place.aws_v2() is None:
        pytest.skip("no aws cli of version 2 on this machine")
    out = tmp_path / "out.json"
    aws.cli(
        server, "lambda", "invoke", "--function-name", echo, "--cli-binary-format",
        "raw-in-base64-out", "--payload", '{"a":2}', str(out), program=place.aws_v2(),
    )  # fmt: skip
    assert json.loads(out.read_text()) == {"a": 2}


def test_keep_alive_connection_serves_many_calls(access, echo):
    """One connection, many requests, in order."""
    parts = urllib.parse.urlsplit(access.endpoint)
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=30)
    for number in range(50):
        body = str(number).encode()
        request = aws.signed(access, "POST", invoke_path(echo), body, {}, "lambda")
        connection.request("POST", invoke_path(echo), body, dict(request.headers.items()))
        assert connection.getresponse().read() == body
    connection.close()


def test_client_that_hangs_up_frees_its_place(client, access, function):
    """The call goes on and ends; the next one is served."""
    name = function("import time\ndef handler(event, context):\n    time.sleep(event)\n    return 1\n")
    call(client, name, 0)
    parts = urllib.parse.urlsplit(access.endpoint)
    request = aws.signed(access, "POST", invoke_path(name), b"1", {}, "lambda")
    head = f"POST {invoke_path(name)} HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Length: 1\r\n"
    head += "".join(f"{k}: {v}\r\n" for k, v in request.headers.items()
                    if k.lower() not in ("host", "content-length"))  # fmt: skip
    for _ in range(5):
        with socket.create_connection((parts.hostname, parts.port), 10) as connection:
            connection.sendall(head.encode() + b"\r\n1")
    assert call(client, name, 0)[0] == 1
