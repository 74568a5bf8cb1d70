"""InvokeWithResponseStream, and streaming functions behind Invoke."""

import base64
import json
import pathlib
import re
import socket
import time
import urllib.parse

import pytest
from harness import aws, code, place
from harness.functions import call, deploy, fresh_name
from harness.leftovers import wait_until

MIB = 1024 * 1024
needs_node = pytest.mark.skipif(place.node_runtime() is None, reason="no node on this machine")

# A runtime of its own that streams with bare sockets, as the event's Python says.
BOOTSTRAP = """\
#!/usr/bin/python3
import base64, http.client, json, os, socket, sys

api = os.environ["AWS_LAMBDA_RUNTIME_API"]
host, port = api.split(":")
path = "/2018-06-01/runtime/invocation/"


class Stream:
    def __init__(self, mode="streaming", length=None):
        self.socket = socket.create_connection((host, int(port)))
        size = "Transfer-Encoding: chunked" if length is None else f"Content-Length: {length}"
        self.raw(
            f"POST {path}{call}/response HTTP/1.1\\r\\nHost: {api}\\r\\n{size}\\r\\n"
            f"Lambda-Runtime-Function-Response-Mode: {mode}\\r\\n"
            "Trailer: Lambda-Runtime-Function-Error-Type\\r\\nExpect: 100-continue\\r\\n\\r\\n"
        )
        self.refusal = None
        first = self.socket.recv(12, socket.MSG_WAITALL)
        if first.endswith(b" 100"):
            # From here on the stream is open.
            while not first.endswith(b"\\r\\n\\r\\n"):
                first += self.socket.recv(1)
        else:
            self.refusal = int(first[-3:])

    def raw(self, text):
        self.socket.sendall(text.encode() if isinstance(text, str) else text)

    def write(self, data):
        data = data.encode() if isinstance(data, str) else data
        self.raw(b"%x\\r\\n%s\\r\\n" % (len(data), data))

    def status(self):
        response = http.client.HTTPResponse(self.socket)
        response.begin()
        response.read()
        return response.status

    def end(self, **trailers):
        named = "".join(
            f"Lambda-Runtime-Function-Error-{name}: {value}\\r\\n" for name, value in trailers.items()
        )
        self.raw("0\\r\\n" + named + "\\r\\n")
        status = self.status()
        self.socket.close()
        return status


def post(what, body):
    connection = http.client.HTTPConnection(api)
    connection.request("POST", f"{path}{call}/{what}", body)
    answer = connection.getresponse()
    answer.read()
    return answer.status


while True:
    connection = http.client.HTTPConnection(api)
    connection.request("GET", path + "next")
    response = connection.getresponse()
    event = json.loads(response.read())
    call = response.headers["lambda-runtime-aws-request-id"]
    exec(event["python"])
    connection.close()
"""


@pytest.fixture(scope="module")
def raw(client):
    name = deploy(
        client, code.bootstrap(BOOTSTRAP), FunctionName=fresh_name("raw"),
        Runtime="provided.al2023", Handler="any", Timeout=30,
    )  # fmt: skip
    yield name
    client.delete_function(FunctionName=name)


def node(function, body, **settings):
    """A streaming handler of Node with this body."""
    source = "export const handler = awslambda.streamifyResponse(async (event, stream) => {\n"
    return function(
        code.node(source + body + "\n});\n"),
        Runtime=place.node_runtime(), Handler="index.handler", **settings,
    )  # fmt: skip


def stream(client, name, event=None, **settings):
    """The chunks of a streamed answer, and its last event."""
    answer = client.invoke_with_response_stream(
        FunctionName=name, Payload=json.dumps({} if event is None else event), **settings
    )
    return taken(answer)


def taken(answer):
    chunks, complete = [], None
    for event in answer["EventStream"]:
        assert complete is None, "an event after the last one"
        if "PayloadChunk" in event:
            chunks.append(event["PayloadChunk"]["Payload"])
        else:
            complete = event["InvokeComplete"]
    assert complete is not None, "no InvokeComplete"
    return chunks, complete


def run(client, raw, python, **settings):
    return stream(client, raw, {"python": python}, **settings)


def report(logs, name, request_id):
    """The REPORT line of a call, or None when there is none yet."""
    try:
        events = logs.filter_log_events(
            logGroupName=f"/aws/lambda/{name}", filterPattern=f'"REPORT RequestId: {request_id}"'
        )["events"]
    except logs.exceptions.ResourceNotFoundException:
        return None
    return events[0]["message"] if events else None


def reported(logs, name, request_id):
    return wait_until(lambda: report(logs, name, request_id), "the REPORT line")


@needs_node
def test_a_streaming_function_of_node(client, function):
    name = node(function, "stream.write('one ');\nstream.write({two: 2});\nstream.end(event.last);")
    answer = client.invoke_with_response_stream(
        FunctionName=name, Payload=b'{"last": " three"}', LogType="Tail"
    )
    assert answer["StatusCode"] == 200
    assert answer["ExecutedVersion"] == "$LATEST"
    assert answer["ResponseStreamContentType"] == "application/vnd.amazon.eventstream"
    chunks, complete = taken(answer)
    assert b"".join(chunks) == b'one {"two":2} three'
    assert "ErrorCode" not in complete and "ErrorDetails" not in complete
    log = base64.b64decode(complete["LogResult"]).decode()
    request_id = answer["ResponseMetadata"]["RequestId"]
    assert re.search(rf"^START RequestId: {request_id} ", log)
    assert re.search(rf"^REPORT RequestId: {request_id}\t.*Duration: ", log, re.M)


@needs_node
def test_chunks_come_before_the_function_ends_and_a_timeout_is_the_last_event(
    client, logs, function
):
    name = node(function, "stream.write('first');\nawait new Promise((r) => setTimeout(r, 60000));",
                Timeout=3)  # fmt: skip
    answer = client.invoke_with_response_stream(FunctionName=name)
    request_id = answer["ResponseMetadata"]["RequestId"]
    events = iter(answer["EventStream"])
    assert next(events) == {"PayloadChunk": {"Payload": b"first"}}
    assert report(logs, name, request_id) is None, "the function has ended already"
    [last] = list(events)
    assert last["InvokeComplete"]["ErrorCode"] == "Unhandled"
    assert json.loads(last["InvokeComplete"]["ErrorDetails"]) == {
        "errorType": "Sandbox.Timedout",
        "errorMessage": f"RequestId: {request_id} Error: Task timed out after 3.00 seconds",
    }
    assert "Status: timeout" in reported(logs, name, request_id)


@needs_node
def test_an_error_half_way_is_told_after_what_was_written(client, logs, function):
    name = node(function, "stream.write('half');\nthrow new TypeError('no oil');")
    chunks, complete = stream(client, name)
    assert chunks == [b"half"]
    assert complete["ErrorCode"] == "Unhandled"
    details = json.loads(complete["ErrorDetails"])
    assert (details["errorType"], details["errorMessage"]) == ("TypeError", "no oil")
    # The same function for a caller that wants all of it at once: there is only the error.
    payload, answer = call(client, name)
    assert answer["FunctionError"] == "Unhandled"
    assert payload["errorType"] == "TypeError"
    assert "Status: error" in reported(logs, name, answer["ResponseMetadata"]["RequestId"])


@needs_node
def test_the_prelude_of_http_integrations_passes_through(client, function):
    name = node(
        function,
        "stream = awslambda.HttpResponseStream.from(stream, {statusCode: 418});\n"
        "stream.write('tea');\nstream.end();",
    )
    chunks, _ = stream(client, name)
    assert b"".join(chunks) == b'{"statusCode":418}' + bytes(8) + b"tea"


@needs_node
def test_invoke_gets_the_whole_of_a_stream(client, function):
    name = node(function, "for (let i = 0; i < event.n; i++) stream.write('x'.repeat(event.size));\n"
                "stream.end();")  # fmt: skip
    whole = client.invoke(FunctionName=name, Payload=b'{"n": 3, "size": 1000000}')
    assert whole["Payload"].read() == b"x" * 3_000_000
    payload, answer = call(client, name, {"n": 7, "size": 1_000_000})
    assert answer["FunctionError"] == "Unhandled"
    assert payload["errorType"] == "Function.ResponseSizeTooLarge"
    assert "(6291556 bytes)" in payload["errorMessage"]


def test_a_buffered_function_gives_one_chunk(client, function):
    name = function("def handler(event, context):\n    return event or 1 / 0\n")
    assert stream(client, name, "x" * 1_000_000)[0] == [b'"' + b"x" * 1_000_000 + b'"']
    chunks, complete = stream(client, name)
    assert chunks == []
    assert complete["ErrorCode"] == "Unhandled"
    assert json.loads(complete["ErrorDetails"])["errorType"] == "ZeroDivisionError"
    assert "LogResult" not in complete


def test_refusals_are_those_of_invoke(client, access, function):
    with pytest.raises(client.exceptions.ResourceNotFoundException) as missing:
        stream(client, "no-such-lamp")
    assert missing.value.response["Error"]["Message"].startswith("Function not found: arn:aws:")
    with pytest.raises(client.exceptions.InvalidRequestContentException):
        client.invoke_with_response_stream(FunctionName="any", Payload=b"{")
    name = function("def handler(event, context):\n    return 1\n")
    path = f"/2021-11-15/functions/{name}/response-streaming-invocations"
    dry = aws.send(access, "POST", path, b"{}", {"X-Amz-Invocation-Type": "DryRun"})
    assert (dry.status, dry.body) == (204, b"")
    event = aws.send(access, "POST", path, b"{}", {"X-Amz-Invocation-Type": "Event"})
    assert event.status == 400
    large = aws.send(access, "POST", path, b'"' + b"x" * 6 * MIB + b'"')
    assert (large.status, large.error) == (413, "RequestEntityTooLargeException")


def test_a_raw_stream(client, raw):
    chunks, complete = run(
        client, raw, "s = Stream()\ns.write('a')\ns.write(b'\\0\\xff')\nassert s.end() == 202"
    )
    assert b"".join(chunks) == b"a\0\xff"
    assert complete == {}


def test_an_empty_stream(client, raw):
    assert run(client, raw, "Stream().end()") == ([], {})
    assert client.invoke(FunctionName=raw, Payload=b'{"python": "Stream().end()"}')["Payload"].read() == b""


def test_trailers_without_a_body(client, raw):
    chunks, complete = run(client, raw, "s = Stream()\ns.write('a')\ns.end(Type='Function.Dark')")
    assert chunks == [b"a"]
    assert complete["ErrorCode"] == "Unhandled"
    assert complete.get("ErrorDetails", "") == ""


def test_a_runtime_that_ends_half_way(client, raw):
    chunks, complete = run(client, raw, "s = Stream()\ns.write('half')\nos._exit(3)")
    assert chunks == [b"half"]
    details = json.loads(complete["ErrorDetails"])
    assert details["errorType"] == "Runtime.ExitError"
    assert details["errorMessage"].endswith("Runtime exited with error: exit status 3")
    assert run(client, raw, "Stream().end()")[1] == {}


def test_a_stream_that_breaks_off(client, raw):
    """The runtime lives on: the next event is its own, and its environment is kept."""
    remember = "sys.streams = getattr(sys, 'streams', 0) + 1\n"
    run(client, raw, remember + "Stream().end()")
    for broken in ("Stream()", "Stream(length=10)"):
        python = f"{remember}s = {broken}\ns.raw('5\\r\\nhalf')\ns.socket.close()"
        _, complete = run(client, raw, python)
        assert json.loads(complete["ErrorDetails"])["errorType"] == "Runtime.TruncatedResponse"
    chunks, _ = run(client, raw, "s = Stream()\ns.write(str(sys.streams))\ns.end()")
    assert chunks == [b"3"]


def test_one_stream_is_one_answer(client, raw):
    """While a stream is open neither an error nor another response is taken."""
    python = """
s = Stream()
s.write("a")
refused = [post("error", "{}"), post("response", "{}"), Stream().refusal]
s.write(json.dumps(refused))
s.end()
"""
    chunks, complete = run(client, raw, python)
    assert b"".join(chunks) == b"a[403, 403, 403]"
    assert complete == {}


def test_an_unknown_response_mode(client, raw):
    python = "status = Stream('sideways').refusal\npost('response', str(status))"
    assert run(client, raw, python)[0] == [b"400"]


def test_two_hundred_megabytes_are_the_limit(client, raw):
    python = """
s = Stream()
try:
    for _ in range(201):
        s.write(bytes(1024 * 1024))
    s.end()
except OSError:
    pass
"""
    answer = client.invoke_with_response_stream(
        FunctionName=raw, Payload=json.dumps({"python": python})
    )
    total = 0
    for event in answer["EventStream"]:
        total += len(event.get("PayloadChunk", {}).get("Payload", b""))
    assert 199 * MIB < total <= 200 * MIB
    details = json.loads(event["InvokeComplete"]["ErrorDetails"])
    assert details["errorType"] == "Function.ResponseSizeTooLarge"
    assert "(209715200 bytes)" in details["errorMessage"]


def peak(server):
    """The most memory that the server ever had, in bytes."""
    status = pathlib.Path(f"/proc/{server.pid}/status").read_text()
    return int(re.search(r"VmHWM:\s*(\d+) kB", status)[1]) * 1024


FLOOD = "s = Stream()\nfor _ in range(50): s.write(bytes(1024 * 1024))\nprint('flooded', flush=True)\ns.end()"


def one_at_a_time(own_server):
    server = own_server(config="[functions]\nconcurrent_executions = 1\n")
    client = server.client()
    name = deploy(
        client, code.bootstrap(BOOTSTRAP), FunctionName=fresh_name("raw"),
        Runtime="provided.al2023", Handler="any", Timeout=6,
    )  # fmt: skip
    assert run(client, name, "Stream().end()") == ([], {})
    return server, client, name


def test_a_large_stream_takes_no_memory(own_server):
    server, client, name = one_at_a_time(own_server)
    before = peak(server)
    answer = client.invoke_with_response_stream(
        FunctionName=name, Payload=json.dumps({"python": FLOOD})
    )
    total = sum(len(e.get("PayloadChunk", {}).get("Payload", b"")) for e in answer["EventStream"])
    assert total == 50 * MIB
    assert peak(server) - before < 10 * MIB


def begin(server, name, python):
    """A signed request on a bare socket, read up to the head of its answer."""
    access = server.access()
    path = f"/2021-11-15/functions/{name}/response-streaming-invocations"
    body = json.dumps({"python": python}).encode()
    headers = aws.signed(access, "POST", path, body, {}, "lambda").headers
    place_ = urllib.parse.urlsplit(access.endpoint)
    connection = socket.create_connection((place_.hostname, place_.port), timeout=30)
    lines = [f"POST {path} HTTP/1.1", f"Host: {place_.netloc}", f"Content-Length: {len(body)}"]
    lines += [f"{key}: {value}" for key, value in headers.items() if key.lower() not in ("host", "content-length")]
    connection.sendall("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
    head = b""
    while b"\r\n\r\n" not in head:
        head += connection.recv(1)
    assert head.startswith(b"HTTP/1.1 200 "), head
    return connection, re.search(rb"x-amzn-requestid: (\S+)", head)[1].decode()


def test_a_caller_that_hangs_up(own_server):
    """H7: the function finishes, is logged, and makes room for the next call."""
    server, client, name = one_at_a_time(own_server)
    connection, request_id = begin(server, name, FLOOD)
    connection.close()
    logs = server.client("logs")
    assert "Status:" not in reported(logs, name, request_id)
    events = logs.filter_log_events(logGroupName=f"/aws/lambda/{name}")["events"]
    assert "flooded" in [event["message"] for event in events]
    wait_until(lambda: admitted(client, name), "a free place")


def test_a_caller_that_never_reads(own_server):
    """H7: it holds up its function, which times out; the server holds next to nothing for it."""
    server, client, name = one_at_a_time(own_server)
    before = peak(server)
    connection, request_id = begin(server, name, FLOOD)
    with connection:
        assert "Status: timeout" in reported(server.client("logs"), name, request_id)
        wait_until(lambda: admitted(client, name), "a free place")
        assert peak(server) - before < 10 * MIB


def admitted(client, name):
    try:
        return run(client, name, "Stream().end()") == ([], {})
    except client.exceptions.TooManyRequestsException:
        return False


def test_a_rate_counts_beyond_the_first_six_megabytes(own_server):
    server = own_server(config="[functions]\nstream_megabytes_per_second = 2\n")
    client = server.client()
    name = deploy(
        client, code.bootstrap(BOOTSTRAP), FunctionName=fresh_name("raw"),
        Runtime="provided.al2023", Handler="any", Timeout=20,
    )  # fmt: skip
    python = "s = Stream()\nfor _ in range(8): s.write(bytes(1024 * 1024))\ns.end()"
    started = time.monotonic()
    answer = client.invoke_with_response_stream(
        FunctionName=name, Payload=json.dumps({"python": python})
    )
    total = sum(len(e.get("PayloadChunk", {}).get("Payload", b"")) for e in answer["EventStream"])
    assert total == 8 * MIB
    # Two of them at two in a second: sooner would be too fast, and later says nothing.
    assert time.monotonic() - started > 0.9
