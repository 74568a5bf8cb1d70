"""Requests that two readers would read differently, and clients that stop half way (H1 to H7)."""

import concurrent.futures
import contextlib
import datetime
import json
import re
import socket
import urllib.parse

import pytest
from harness import aws, code
from harness.functions import call, deploy, fresh_name
from harness.leftovers import wait_until

ECHO = "def handler(event, context):\n    return event\n"
PATH = "/2015-03-31/functions"
SMUGGLED = b"GET /_lamplight/health HTTP/1.1\r\nHost: a\r\n\r\n"


def connect(server):
    return socket.create_connection(("127.0.0.1", server.port), 20)


def say(server, data, half_close=False):
    """All that the server says to `data` until it closes."""
    got = b""
    with connect(server) as sock:
        sock.sendall(data)
        if half_close:
            sock.shutdown(socket.SHUT_WR)
        with contextlib.suppress(ConnectionError):
            while chunk := sock.recv(65536):
                got += chunk
    return got


def statuses(got):
    return [int(s) for s in re.findall(rb"HTTP/1\.1 (\d{3}) ", got)]


def post(*headers, body=b""):
    lines = "".join(f"{header}\r\n" for header in headers).encode()
    return f"POST {PATH} HTTP/1.1\r\nHost: a\r\n".encode() + lines + b"\r\n" + body


@pytest.mark.parametrize(
    "data",
    [
        post("Content-Length: 5", "Content-Length: 6", body=b"hello" + SMUGGLED),
        post("Content-Length: 5, 6", body=b"hello" + SMUGGLED),
        post("Content-Length: +5", body=b"hello" + SMUGGLED),
        post("Content-Length : 5", body=b"hello" + SMUGGLED),
        post("Transfer-Encoding: xchunked", body=b"0\r\n\r\n" + SMUGGLED),
        post("Transfer-Encoding: chunked, chunked", body=b"0\r\n\r\n" + SMUGGLED),
        post("Transfer-Encoding: gzip, chunked", body=b"0\r\n\r\n" + SMUGGLED),
        post("Transfer-Encoding: chunked", "Transfer-Encoding: chunked", body=b"0\r\n\r\n" + SMUGGLED),
        post("Transfer-Encoding: identity, chunked", body=b"0\r\n\r\n" + SMUGGLED),
        post("Transfer-Encoding: chunked, identity", body=b"0\r\n\r\n" + SMUGGLED),
        post("Transfer-Encoding : chunked", body=b"0\r\n\r\n" + SMUGGLED),
        post("Transfer-Encoding:\x0bchunked", body=b"0\r\n\r\n" + SMUGGLED),
        post(" folded: line") + SMUGGLED,
        post("a: b", "\tfolded") + SMUGGLED,
        post(": nameless") + SMUGGLED,
        post("bad name: x") + SMUGGLED,
        post("X: a\0b") + SMUGGLED,
        f"POST {PATH} HTTP/1.1\rHost: a\r\r".encode() + SMUGGLED,
        f"POST {PATH} HTTP/2.0\r\nHost: a\r\n\r\n".encode() + SMUGGLED,
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(100),
    ],
)
def test_ambiguous_requests_are_one_and_refused(server, data):
    """H2, H4: what could be read as two requests is a 400 and the connection's end."""
    got = say(server, data)
    assert statuses(got) in ([400], []), got[:500]


@pytest.mark.parametrize(
    "headers",
    [
        ("Content-Length: 5", "Transfer-Encoding: chunked"),
        ("Transfer-Encoding: chunked", "Content-Length: 5"),
    ],
)
def test_two_lengths_are_never_two_requests(server, headers):
    """H2: with both lengths, one answer, and the connection ends whatever followed."""
    got = say(server, post(*headers, body=b"0\r\n\r\n" + SMUGGLED))
    assert len(statuses(got)) == 1, got[:500]
    assert statuses(got)[0] in (400, 403)


def test_line_feeds_in_chunk_extensions(server):
    """H2: CVE-2025-55315: a bare line feed in a chunk's extension does not end it."""
    body = b"2;\nxx\r\nab\r\n0\r\n\r\n" + SMUGGLED
    got = say(server, post("Transfer-Encoding: chunked", body=body), half_close=True)
    assert b"ok\n" not in got and len(statuses(got)) <= 1, got[:500]


def test_heads_have_an_end(server):
    """H3: too many headers, too long a line, too many cookies: 431 or 414 before anything else."""
    for data, right in [
        (post(*(f"X-{n}: y" for n in range(200))), (431,)),
        (post("X: " + "y" * 600_000), (431,)),
        (post(*("Cookie: " + "a=b; " * 2000 for _ in range(60))), (431,)),
        (f"GET /{'a' * 70_000} HTTP/1.1\r\nHost: a\r\n\r\n".encode(), (414,)),
    ]:
        with contextlib.suppress(ConnectionError):
            assert statuses(say(server, data)) in [[status] for status in right]


def test_compressed_bodies_stay_compressed(server, access):
    """H3: nothing is inflated for a client: a bomb is the bytes that it is."""
    import gzip

    bomb = gzip.compress(bytes(50_000_000))
    answer = aws.send(access, "POST", PATH, bomb, {"Content-Encoding": "gzip"})
    assert 400 <= answer.status < 500


def test_a_head_has_ten_seconds(server):
    """H1: slow and unfinished heads are closed after ten seconds, one byte at a time or not."""
    with connect(server) as silent, connect(server) as slow:
        slow.settimeout(1)
        slow.sendall(f"POST {PATH} HTTP/1.1\r\n".encode())

        def closed():
            try:
                slow.sendall(b"X: y\r\n")
                return slow.recv(4096) == b"" or None
            except TimeoutError:
                return None
            except OSError:
                return True

        wait_until(closed, "the slow connection's end", 20)
        silent.settimeout(15)
        assert silent.recv(4096) == b""


def test_signatures_are_checked_in_every_part(access, client):
    """H5: expired, from the future, for elsewhere, with headers left out: a 403 that says why."""
    now = aws.utc_now()

    def send(who=access, headers=None, service="lambda", at=None):
        return aws.send(who, "GET", PATH, headers=headers, service=service, at=at)

    hour = datetime.timedelta(hours=1)
    elsewhere = aws.Access(access.endpoint, access.key, access.secret, "eu-west-1")
    wrong = aws.Access(access.endpoint, access.key, access.secret[:-1] + "x", access.region)
    assert send().status == 200
    for answer, error in [
        (send(at=now - hour), "InvalidSignatureException"),
        (send(at=now + hour), "InvalidSignatureException"),
        (send(who=wrong), "InvalidSignatureException"),
    ]:
        assert (answer.status, answer.error) == (403, error), answer.message
    # The scope names the region and the service: those are other places, and no mistakes.
    assert send(who=elsewhere).json()["Functions"] == []
    assert send(service="s3").status == 404
    # A replay within five minutes is taken, as AWS takes it; what was signed cannot be changed.
    request = aws.signed(access, "GET", PATH, b"", {}, "lambda")
    signed = dict(request.headers.items())
    for _ in range(2):
        assert aws.exchange(access, "GET", PATH, b"", signed).status == 200
    assert aws.exchange(access, "GET", PATH + "?MaxItems=1", b"", signed).status == 403
    assert aws.exchange(access, "DELETE", PATH, b"", signed).status in (403, 404, 405)
    unsigned_host = {**signed, "Authorization": signed["Authorization"].replace("host;", "")}
    assert aws.exchange(access, "GET", PATH, b"", unsigned_host).status == 403


@pytest.fixture(scope="module")
def echo(client):
    name = deploy(client, ECHO, FunctionName=fresh_name("echo"))
    yield name
    client.delete_function(FunctionName=name)


def test_payloads_have_their_limits(access, client, echo):
    """H6: too large, no JSON, too deep; large numbers go through as they are."""
    path = f"{PATH}/{echo}/invocations"
    large = aws.send(access, "POST", path, b'"' + b"x" * (6 << 20) + b'"')
    assert (large.status, large.error) == (413, "RequestTooLargeException") or large.status == 413
    for bad in (b"{", b"\xff", b"nope"):
        answer = aws.send(access, "POST", path, bad)
        assert (answer.status, answer.error) == (400, "InvalidRequestContentException")
    numbers = b"[1e308,1e-308,12345678901234567890,0.1]"
    answer = aws.send(access, "POST", path, numbers)
    assert json.loads(answer.body) == json.loads(numbers)


SLOW = """
import time

def handler(event, context):
    if event.get("slow"):
        time.sleep(2)
        print("finished")
"""


def test_a_client_that_hangs_up_leaves_no_slot_taken(access, client, logs):
    """H7: the call is finished and recorded, and its slot is free again."""
    name = deploy(client, SLOW, FunctionName=fresh_name())
    client.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=1)
    call(client, name)
    path, body = f"{PATH}/{name}/invocations", b'{"slow": true}'
    place = urllib.parse.urlsplit(access.endpoint)
    given = {"Host": place.netloc}
    headers = dict(aws.signed(access, "POST", path, body, given, "lambda").headers.items())
    headers["Content-Length"] = str(len(body))
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    with socket.create_connection((place.hostname, place.port), 10) as sock:
        sock.sendall(f"POST {path} HTTP/1.1\r\n{lines}\r\n".encode() + body)
        # Gone before the answer, after the call has begun.
        wait_until(lambda: busy(client, name), "the call's start", 10)
    wait_until(lambda: not busy(client, name), "the slot", 20)

    def finished():
        found = logs.filter_log_events(logGroupName=f"/aws/lambda/{name}", filterPattern="finished")
        return found["events"]

    wait_until(finished, "the line of the call that nobody waited for", 10)
    client.delete_function(FunctionName=name)


def busy(client, name):
    try:
        call(client, name)
    except client.exceptions.TooManyRequestsException:
        return True
    return False


def test_many_calls_at_once_are_refused_quickly(client):
    """L1: beyond its concurrency a function's calls are answered 429 at once, with the reason."""
    name = deploy(
        client, "import time\ndef handler(event, context):\n    time.sleep(0.5)\n    return 1\n",
        FunctionName=fresh_name(),
    )  # fmt: skip
    client.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=2)
    call(client, name)

    def one(_):
        try:
            return code.payload(client.invoke(FunctionName=name))
        except client.exceptions.TooManyRequestsException as error:
            return error.response["Reason"], error.response["ResponseMetadata"]["HTTPHeaders"]

    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(one, range(20)))
    served = [answer for answer in answers if answer == 1]
    refused = [answer for answer in answers if answer != 1]
    assert len(served) >= 2 and refused
    assert {reason for reason, _ in refused} == {"ReservedFunctionConcurrentInvocationLimitExceeded"}
    assert all("retry-after" in headers for _, headers in refused)
    client.delete_function(FunctionName=name)
