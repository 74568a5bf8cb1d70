"""Clients that mean harm, or are broken, and a good one beside them that notices nothing."""

import contextlib
import hashlib
import http.client
import json
import os
import pathlib
import socket
import urllib.error
import urllib.parse
import urllib.request

import pytest
from harness import aws, code
from harness.functions import call, deploy, fresh_name
from harness.leftovers import wait_until

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
    """H6: nesting has a depth."""
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
    # AWS: with the lineage behind it.
    assert answer.headers["x-amzn-trace-id"].startswith(f"{given};Lineage=1:")


@contextlib.contextmanager
def sockets():
    """A maker of connections that say something and then hold still: `hold(access, *pieces)`."""
    with contextlib.ExitStack() as stack:

        def hold(access, *pieces):
            place = urllib.parse.urlsplit(access.endpoint)
            made = stack.enter_context(socket.create_connection((place.hostname, place.port), 60))
            for piece in pieces:
                made.sendall(piece)
            return made

        yield hold


def head(access, path, length, sign=True, headers=()):
    """A request's head that announces a body; what the body is stays unsaid."""
    fields = {"Content-Length": str(length), "x-amz-content-sha256": "UNSIGNED-PAYLOAD"}
    fields.update(headers)
    fields.setdefault("Host", urllib.parse.urlsplit(access.endpoint).netloc)
    if sign:
        fields = dict(aws.signed(access, "POST", path, b"", fields, "lambda").headers.items())
    fields["Content-Length"] = str(length)
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"POST {path} HTTP/1.1\r\n{lines}\r\n".encode()


def answer_of(held):
    response = http.client.HTTPResponse(held)
    response.begin()
    return aws.Answer(response.status, response.headers, response.read())


def memory(server):
    """Bytes that the server has in memory."""
    [line] = [
        line
        for line in pathlib.Path(f"/proc/{server.pid}/status").read_text().splitlines()
        if line.startswith("VmRSS:")
    ]
    return int(line.split()[1]) * 1024


def large_text(size):
    return "x" * (size - 2)


def test_strangers_hold_no_memory(access, client, echo):
    """H1, H3: nobody's body is read before its head says who it is from."""
    with sockets() as hold:
        path = "/2015-03-31/functions"
        strangers = [
            hold(access, head(access, path, 70_000_000, sign=False), b"{") for _ in range(8)
        ]
        other = aws.Access(access.endpoint, "AKIANOBODYKNOWSTHIS0", "secret", access.region)
        strangers += [hold(access, head(other, path, 70_000_000), b"{") for _ in range(8)]
        for _ in range(3):
            text = large_text(1_000_000)
            assert call(client, echo, text)[0] == text
        answers = [answer_of(stranger) for stranger in strangers]
    assert {answer.status for answer in answers} == {403}
    assert {answer.error for answer in answers} == {
        "MissingAuthenticationTokenException",
        "UnrecognizedClientException",
    }


def test_a_stranger_gets_to_read_the_refusal(access):
    """The body is read away, so that the answer is not lost with the connection."""
    answer = aws.send(access, "POST", "/2015-03-31/functions", b"x" * 5_000_000, sign=False)
    assert (answer.status, answer.error) == (403, "MissingAuthenticationTokenException")


def test_what_is_announced_takes_nothing_from_others(server, access, client, echo):
    before = memory(server)
    with sockets() as hold:
        for _ in range(64):
            hold(access, head(access, "/2015-03-31/functions", 70_000_000), b"{")
        text = large_text(5_000_000)
        assert call(client, echo, text)[0] == text
        deploy(client, code.python(ECHO), FunctionName=(name := fresh_name()))
        client.delete_function(FunctionName=name)
        assert memory(server) - before < 256 * 1024 * 1024


def test_large_bodies_that_hold_still_leave_room_for_small_ones(access, client, echo):
    """H1: slow bodies leave room for others."""
    size = 6 * 1024 * 1024
    part = b"x" * (size - 1024)
    with sockets() as hold:
        for _ in range(43):
            hold(access, head(access, invoke_path(echo), size), part)
        assert call(client, echo, {"small": True})[0] == {"small": True}
        busy = aws.send(access, "POST", invoke_path(echo), json.dumps(large_text(size - 1024)).encode())
        assert (busy.status, busy.error) == (429, "TooManyRequestsException")
        assert busy.headers["Retry-After"] == "1"
        assert "as its memory allows" in busy.message
        # Uploads have memory of their own.
        deploy(client, code.python(ECHO), FunctionName=(name := fresh_name()), wait=False)
        client.delete_function(FunctionName=name)

    def free():
        text = large_text(size - 1024)
        return aws.send(access, "POST", invoke_path(echo), json.dumps(text).encode()).status == 200

    wait_until(free, "room for large bodies", 30)


def test_downloads_that_nobody_reads(server, access, client):
    """H1: slow readers take little memory and have an end."""
    package = code.zipped({"app.py": ECHO, "noise": os.urandom(8_000_000)})
    name = deploy(client, package, FunctionName=fresh_name())
    location = client.get_function(FunctionName=name)["Code"]["Location"]
    before = memory(server)
    url = urllib.parse.urlsplit(location)
    request = f"GET {url.path}?{url.query} HTTP/1.1\r\nHost: {url.netloc}\r\n\r\n".encode()
    with sockets() as hold:
        held = [hold(access, request) for _ in range(32)]
        for one in held:
            assert one.recv(12) == b"HTTP/1.1 200"
        busy = answer_of(hold(access, request))
        assert (busy.status, busy.headers["Retry-After"]) == (503, "1")
        assert call(client, name, {"a": 1})[0] == {"a": 1}
        assert memory(server) - before < 64 * 1024 * 1024
    wait_until(
        lambda: answered(location) == hashlib.sha256(package).digest(), "a download", 30
    )
    client.delete_function(FunctionName=name)


def answered(location):
    try:
        with urllib.request.urlopen(location, timeout=30) as response:
            return hashlib.sha256(response.read()).digest()
    except urllib.error.HTTPError as error:
        assert error.code == 503
        return None


def test_without_authentication_web_pages_are_kept_out(own_server):
    server = own_server("--auth", "none")
    access = server.access()
    path = "/2015-03-31/functions"

    def ask(**headers):
        return aws.send(access, "GET", path, headers=headers, sign=False)

    assert ask().status == 200
    assert ask(Host=f"localhost:{server.port}").status == 200
    assert server.client().list_functions()["Functions"] == []
    for page in [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ]:
        answer = ask(**page)
        assert (answer.status, answer.error) == (403, "AccessDeniedException")
        assert "web pages may not use it" in answer.message
    rebound = ask(Host=f"evil.example:{server.port}")
    assert (rebound.status, rebound.error) == (403, "AccessDeniedException")
    assert "loopback" in rebound.message
