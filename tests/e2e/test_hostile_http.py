"""Clients that mean harm, or are broken, and a good one beside them that notices nothing."""

import pytest
from harness import aws
from harness.functions import call, deploy, fresh_name

ECHO = "def handler(event, context):\n    return event\n"
PREFIX = "Could not parse request body into json: Could not parse payload into json: "


def invoke_path(name):
    return f"/2015-03-31/functions/{name}/invocations"


@pytest.fixture(scope="module")
def echo(client):
    name = deploy(client, ECHO, FunctionName=fresh_name("echo"))
    yield name
    client.delete_function(FunctionName=name)


def test_deep_payloads_are_refused(access, client, echo):
    for deep in [b"[" * 100_000 + b"]" * 100_000, b'{"a":' * 1001 + b"1" + b"}" * 1001]:
        answer = aws.send(access, "POST", invoke_path(echo), deep)
        assert (answer.status, answer.error) == (400, "InvalidRequestContentException")
        assert answer.message == PREFIX + (
            "Document nesting depth (1001) exceeds the maximum allowed (1000, from "
            "`StreamReadConstraints.getMaxNestingDepth()`)"
        )
    assert call(client, echo, "[" * 5000)[0] == "[" * 5000


def test_calls_are_answered_with_their_trace(access, client, echo):
    answer = aws.send(access, "POST", invoke_path(echo), b"{}")
    assert answer.headers["x-amzn-trace-id"].startswith("Root=1-")
    given = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1"
    answer = aws.send(access, "POST", invoke_path(echo), b"{}", {"X-Amzn-Trace-Id": given})
    assert answer.headers["x-amzn-trace-id"] == given
