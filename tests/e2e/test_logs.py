"""What functions print, and what the platform says about their calls, read as with AWS."""

import base64
import re
import subprocess
from concurrent.futures import ThreadPoolExecutor

import pytest
from harness import aws, code, place
from harness.functions import call
from harness.leftovers import wait_until

UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
STREAM = r"\d{4}/\d\d/\d\d/\[\$LATEST\][0-9a-f]{32}"


def group(name):
    return f"/aws/lambda/{name}"


def messages(logs, name, **settings):
    pages = logs.get_paginator("filter_log_events").paginate(logGroupName=group(name), **settings)
    return [event["message"].rstrip("\n") for page in pages for event in page["events"]]


def logged(logs, name, needle, count=1, **settings):
    """All messages, once `needle` is in at least `count` of them."""

    def there():
        try:
            found = messages(logs, name, **settings)
        except logs.exceptions.ResourceNotFoundException:
            return None
        return found if sum(needle in one for one in found) >= count else None

    return wait_until(there, f"{needle!r} in the log of {name}")


def test_lines_of_the_platform(client, logs, function):
    name = function("def handler(event, context):\n    print('lit')\n    return 1\n")
    _, first = call(client, name)
    _, second = call(client, name)
    lines = logged(logs, name, "REPORT RequestId: ", 2)
    ids = [one["ResponseMetadata"]["RequestId"] for one in (first, second)]
    expected = [r"INIT_START Runtime Version: .+"]
    for number, request in enumerate(ids):
        expected += [
            rf"START RequestId: {request} Version: \$LATEST",
            "lit",
            rf"END RequestId: {request}",
            rf"REPORT RequestId: {request}\tDuration: \d+\.\d\d ms\tBilled Duration: \d+ ms\t"
            r"Memory Size: 128 MB\tMax Memory Used: \d+ MB"
            + (r"\tInit Duration: \d+\.\d\d ms" if number == 0 else "")
            + r"\t?",
        ]
    assert len(lines) == len(expected), lines
    for line, pattern in zip(lines, expected):
        assert re.fullmatch(pattern, line), (line, pattern)


def test_a_failed_call_reports_its_status(client, logs, function):
    name = function("import os\ndef handler(event, context):\n    os._exit(4)\n")
    call(client, name)
    lines = logged(logs, name, "REPORT RequestId: ")
    report = next(line for line in lines if line.startswith("REPORT"))
    assert "\tStatus: error\tError Type: Runtime.ExitError" in report


def test_a_timeout_reports_its_status(client, logs, function):
    name = function("import time\ndef handler(event, context):\n    time.sleep(60)\n", Timeout=1)
    call(client, name)
    lines = logged(logs, name, "Status: timeout")
    assert any("Task timed out after 1.00 seconds" in line or "Status: timeout" in line
               for line in lines)  # fmt: skip


def test_an_exception_is_in_the_log(client, logs, function):
    name = function("def handler(event, context):\n    raise ValueError('no oil')\n")
    call(client, name)
    lines = logged(logs, name, "[ERROR] ValueError: no oil")
    assert any("Traceback (most recent call last)" in line for line in lines)


def test_logging_module(client, logs, function):
    name = function(
        """
        import logging
        logging.getLogger().setLevel(logging.INFO)
        def handler(event, context):
            logging.info("warm light")
        """
    )
    _, answer = call(client, name)
    request = answer["ResponseMetadata"]["RequestId"]
    lines = logged(logs, name, "warm light")
    line = next(line for line in lines if "warm light" in line)
    assert re.fullmatch(
        rf"\[INFO\]\t\d{{4}}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z\t{request}\twarm light", line
    )


@pytest.mark.skipif(place.node_runtime() is None, reason="no node on this machine")
def test_console_of_node(client, logs, function):
    name = function(
        code.node("export const handler = async () => { console.log('warm light'); };\n"),
        Runtime=place.node_runtime(),
        Handler="index.handler",
    )
    _, answer = call(client, name)
    request = answer["ResponseMetadata"]["RequestId"]
    line = next(line for line in logged(logs, name, "warm light") if "warm light" in line)
    assert re.fullmatch(
        rf"\d{{4}}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{{3}}Z\t{request}\tINFO\twarm light", line
    )


def test_a_message_of_many_lines_is_one_event(client, logs, function):
    """In order with what is printed, and with what is printed without an end."""
    name = function(
        """
        import logging, os, sys
        def handler(event, context):
            print("before")
            logging.error("one\\n  two\\n")
            print("half", end="")
            logging.error("日本\\n語")
            os.system("echo between")
            assert "_LAMBDA_TELEMETRY_LOG_FD" not in os.environ
            raise ValueError("no\\noil")
        """
    )
    _, answer = call(client, name)
    request = answer["ResponseMetadata"]["RequestId"]
    lines = logged(logs, name, "REPORT")
    lines = lines[lines.index("before") :]
    assert lines[1].startswith("[ERROR]\t") and lines[1].endswith(f"\t{request}\tone\n  two")
    assert lines[2] == "half"
    assert lines[3].endswith(f"\t{request}\t日本\n語")
    assert lines[4] == "between"
    assert lines[5].startswith("[ERROR] ValueError: no\noil\nTraceback (most recent call last):\n")
    assert "app.py" in lines[5]
    assert lines[6] == f"END RequestId: {request}"


@pytest.mark.skipif(place.node_runtime() is None, reason="no node on this machine")
def test_a_message_of_many_lines_of_node_is_one_event(client, logs, function):
    name = function(
        code.node(
            "export const handler = async () => {\n"
            "  process.stdout.write('before\\n');\n"
            "  console.warn('one\\n%s', 'two'.repeat(30000));\n"
            "  console.log({a: 1, b: 'x'.repeat(80)});\n"
            "  return process.env._LAMBDA_TELEMETRY_LOG_FD ?? null;\n};\n"
        ),
        Runtime=place.node_runtime(),
        Handler="index.handler",
    )
    payload, answer = call(client, name)
    assert payload is None
    request = answer["ResponseMetadata"]["RequestId"]
    lines = logged(logs, name, "REPORT")
    lines = lines[lines.index("before") :]
    assert lines[1].endswith(f"\t{request}\tWARN\tone\n" + "two" * 30000)
    assert lines[2].endswith("INFO\t{\n  a: 1,\n  b: '" + "x" * 80 + "'\n}")
    assert lines[3] == f"END RequestId: {request}"


@pytest.mark.skipif(place.node_runtime() is None, reason="no node on this machine")
def test_many_messages_of_node_come_before_the_end_of_their_call(client, logs, function):
    """Also when they are more than a pipe takes at once, and the process ends right after."""
    name = function(
        code.node(
            "export const handler = async () => {\n"
            "  for (let i = 0; i < 500; i++) console.log('x'.repeat(1000), i);\n"
            "  process.exit(3);\n};\n"
        ),
        Runtime=place.node_runtime(),
        Handler="index.handler",
    )
    _, answer = call(client, name, LogType="Tail")
    tail = base64.b64decode(answer["LogResult"]).decode().splitlines()
    assert tail[-3].endswith("x 499")
    assert tail[-2].startswith("END RequestId: ")
    assert sum("xxx" in line for line in logged(logs, name, "REPORT")) == 500


def test_groups_and_streams(client, logs, function):
    name = function("def handler(event, context):\n    print('lit')\n")
    call(client, name)
    logged(logs, name, "lit")
    groups = logs.describe_log_groups(logGroupNamePrefix=group(name))["logGroups"]
    assert [one["logGroupName"] for one in groups] == [group(name)]
    streams = logs.describe_log_streams(logGroupName=group(name))["logStreams"]
    assert len(streams) == 1
    stream = streams[0]["logStreamName"]
    assert re.fullmatch(STREAM, stream)
    events = logs.get_log_events(
        logGroupName=group(name), logStreamName=stream, startFromHead=True
    )["events"]
    assert [one["message"].rstrip("\n") for one in events] == messages(logs, name)
    times = [one["timestamp"] for one in events]
    assert times == sorted(times)


def test_filter_patterns(client, logs, function):
    name = function(
        "def handler(event, context):\n    for line in event:\n        print(line)\n"
    )
    call(client, name, ["red lamp", "green lamp", "red door", '{"level": "ERROR", "code": 7}'])
    logged(logs, name, "REPORT")
    for pattern, expected in [
        ("lamp", ["red lamp", "green lamp"]),
        ("red lamp", ["red lamp"]),
        ("red -lamp", ["red door"]),
        ('"red door"', ["red door"]),
        ("?green ?door", ["green lamp", "red door"]),
        ('{ $.level = "ERROR" }', ['{"level": "ERROR", "code": 7}']),
    ]:
        try:
            assert messages(logs, name, filterPattern=pattern) == expected, pattern
        except logs.exceptions.InvalidParameterException:
            # A pattern that is not understood is refused; it never gives wrong lines.
            assert pattern.startswith("{"), pattern


def test_pages(client, logs, function):
    name = function(
        "def handler(event, context):\n    for n in range(250):\n        print('line', n)\n"
    )
    call(client, name)
    logged(logs, name, "REPORT")
    pages = list(
        logs.get_paginator("filter_log_events").paginate(
            logGroupName=group(name), filterPattern="line", PaginationConfig={"PageSize": 100}
        )
    )
    assert all(len(page["events"]) <= 100 for page in pages)
    lines = [one["message"].rstrip("\n") for page in pages for one in page["events"]]
    assert lines == [f"line {n}" for n in range(250)]


def test_lines_that_are_too_long(client, logs, function):
    """G1: A line without end is cut and marked; what follows it is there, and nothing waits."""
    name = function(
        """
        import sys
        def handler(event, context):
            sys.stdout.write("x" * (10 << 20))
            sys.stdout.write("\\nafter\\n")
            sys.stdout.flush()
            return "answered"
        """
    )
    assert call(client, name)[0] == "answered"
    assert call(client, name)[0] == "answered"
    lines = logged(logs, name, "after", 2)
    assert max(len(line) for line in lines) <= 256 * 1024
    assert any(line.startswith("xxxx") for line in lines)


def test_bytes_that_are_no_text(client, logs, function):
    """G1: bytes that are no text take nothing from the lines around them."""
    name = function(
        """
        import os
        def handler(event, context):
            os.write(1, b"bad \\xff\\xfe bytes, \\x00 and \\x1b[31mred\\n")
            os.write(2, b"and after\\n")
        """
    )
    call(client, name)
    lines = logged(logs, name, "and after")
    assert any(line.startswith("bad ") and "bytes" in line for line in lines)


def test_last_words_are_kept(client, logs, function):
    """G3: what was written before an answer, or before a crash, is stored; also without a newline."""
    name = function(
        """
        import os
        def handler(event, context):
            os.write(1, b"last words")
            if event.get("crash"):
                os._exit(1)
        """
    )
    call(client, name)
    logged(logs, name, "last words")
    call(client, name, {"crash": True})
    logged(logs, name, "last words", 2)


def test_forged_lines_are_only_lines(client, logs, function):
    """G1: platform lines that a function prints are its own lines."""
    name = function(
        """
        def handler(event, context):
            print("END RequestId: 00000000-0000-0000-0000-000000000000")
            print("REPORT RequestId: 00000000-0000-0000-0000-000000000000\\tDuration: 0 ms")
            print("after")
        """
    )
    _, answer = call(client, name)
    request = answer["ResponseMetadata"]["RequestId"]
    lines = logged(logs, name, f"REPORT RequestId: {request}")
    mine = lines[lines.index(f"START RequestId: {request} Version: $LATEST") :]
    assert mine[1].startswith("END RequestId: 0000")
    assert mine[2].startswith("REPORT RequestId: 0000")
    assert mine[3:5] == ["after", f"END RequestId: {request}"]


def test_logs_of_many_environments_do_not_mix(client, logs, function):
    name = function(
        """
        import time
        def handler(event, context):
            for n in range(50):
                print(event, n, context.log_stream_name)
                time.sleep(0.01)
        """
    )
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda n: call(client, name, n), range(4)))
    logged(logs, name, "REPORT", 4)
    count = 0
    for stream in logs.describe_log_streams(logGroupName=group(name))["logStreams"]:
        stream = stream["logStreamName"]
        lines = messages(logs, name, logStreamNames=[stream])
        own = [line for line in lines if re.match(r"\d \d+ \d{4}/", line)]
        assert all(line.endswith(stream) for line in own)
        count += len(own)
    assert count == 200


def test_group_of_its_own(client, logs, function):
    name = function(
        "def handler(event, context):\n    print('lit')\n",
        LoggingConfig={"LogFormat": "Text", "LogGroup": "/street/lamps"},
    )
    call(client, name)

    def there():
        try:
            events = logs.filter_log_events(logGroupName="/street/lamps")["events"]
        except logs.exceptions.ResourceNotFoundException:
            return False
        return any(one["message"].startswith("lit") for one in events)

    wait_until(there, "the line in its group")


def test_missing_group(logs):
    with pytest.raises(logs.exceptions.ResourceNotFoundException) as caught:
        logs.filter_log_events(logGroupName="/no/such/group")
    assert "The specified log group does not exist." in str(caught.value)


@pytest.fixture
def aws_v2():
    if place.aws_v2() is None:
        pytest.skip("no aws cli of version 2 on this machine: only it has `logs tail`")
    return place.aws_v2()


def test_aws_logs_tail(server, client, logs, function, aws_v2):
    name = function("def handler(event, context):\n    print('lit')\n")
    call(client, name)
    logged(logs, name, "REPORT")
    done = aws.cli(server, "logs", "tail", group(name), program=aws_v2)
    assert re.search(r"^\d{4}-.*\[\$LATEST\][0-9a-f]{32} lit$", done.stdout, re.MULTILINE)
    assert "REPORT RequestId: " in done.stdout


def test_aws_logs_tail_follow(server, client, logs, function, aws_v2, tmp_path):
    name = function("def handler(event, context):\n    print(event)\n")
    call(client, name, "first")
    logged(logs, name, "REPORT")
    out = tmp_path / "out"
    with open(out, "wb") as sink:
        tail = subprocess.Popen(
            [aws_v2, *aws.endpoint_option(server, aws_v2), "logs", "tail", group(name), "--follow"],
            env={**aws.cli_environment(server), "PYTHONUNBUFFERED": "1"},
            stdout=sink, stderr=subprocess.STDOUT,
        )  # fmt: skip
    try:
        wait_until(lambda: "first" in out.read_text(), lambda: f"first in {out.read_text()!r}", 30)
        call(client, name, "second")
        wait_until(lambda: "second" in out.read_text(), lambda: f"second in {out.read_text()}", 30)
    finally:
        tail.kill()
        tail.wait()
