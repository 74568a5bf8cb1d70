"""Functions that fail: every way ends in one clear answer, in the shape that AWS gives it.

Expected payloads are those recorded from AWS; where ours may differ, docs/differences.md says so.
"""

import re
from concurrent.futures import ThreadPoolExecutor

import pytest
from harness import code, place
from harness.functions import call
from harness.leftovers import command_line, processes, wait_until


def failure(client, name, event=None):
    payload, answer = call(client, name, event)
    assert answer["StatusCode"] == 200
    assert answer["FunctionError"] == "Unhandled", payload
    return payload


def test_python_exception(client, function):
    name = function(
        """
        def handler(event, context):
            raise ValueError("no oil")
        """
    )
    got, answer = call(client, name)
    assert answer["FunctionError"] == "Unhandled"
    assert (got["errorMessage"], got["errorType"]) == ("no oil", "ValueError")
    assert got["requestId"] == answer["ResponseMetadata"]["RequestId"]
    assert re.fullmatch(
        r'  File "/var/task/app\.py", line 3, in handler\n    raise ValueError\("no oil"\)\n',
        got["stackTrace"][-1],
    )
    # The environment survives an exception: it is the handler's own business.
    assert call(client, name)[0]["errorType"] == "ValueError"


@pytest.mark.skipif(place.node_runtime() is None, reason="no node on this machine")
def test_node_exception(client, function):
    name = function(
        code.node("export const handler = async () => { throw new RangeError('no oil'); };\n"),
        Runtime=place.node_runtime(),
        Handler="index.handler",
    )
    got = failure(client, name)
    assert (got["errorMessage"], got["errorType"]) == ("no oil", "RangeError")
    assert got["trace"][0] == "RangeError: no oil"
    assert any("/var/task/index.mjs" in line for line in got["trace"])


@pytest.mark.parametrize(
    "ending, reason",
    [
        ("import os; os._exit(0)", "Runtime exited without providing a reason"),
        ("import os; os._exit(7)", "Runtime exited with error: exit status 7"),
        ("import os; os.kill(os.getpid(), 9)", "Runtime exited with error: signal: killed"),
        ("import os; os.kill(os.getpid(), 11)",
         "Runtime exited with error: signal: segmentation fault"),
    ],
)  # fmt: skip
def test_exit(client, function, ending, reason):
    name = function(f"def handler(event, context):\n    {ending}\n")
    got, answer = call(client, name)
    request = answer["ResponseMetadata"]["RequestId"]
    assert answer["FunctionError"] == "Unhandled"
    assert got["errorType"] == "Runtime.ExitError"
    assert got["errorMessage"].startswith(f"RequestId: {request} Error: {reason}")


def test_sys_exit_is_an_exit(client, function):
    name = function("import sys\ndef handler(event, context):\n    sys.exit(3)\n")
    got = failure(client, name)
    assert got["errorType"] in ("Runtime.ExitError", "SystemExit")
    assert "3" in got["errorMessage"] or got["errorMessage"].endswith("without providing a reason")


def test_timeout(client, function):
    name = function(
        """
        import os, time
        count = 0
        def handler(event, context):
            global count
            count += 1
            if event.get("loop"):
                open("/tmp/kept", "w").write("kept")
                while True:
                    time.sleep(1)
            return [count, os.path.exists("/tmp/kept")]
        """,
        Timeout=1,
    )
    assert call(client, name)[0] == [1, False]
    got, answer = call(client, name, {"loop": True})
    request = answer["ResponseMetadata"]["RequestId"]
    assert answer["FunctionError"] == "Unhandled"
    assert got == {
        "errorType": "Sandbox.Timedout",
        "errorMessage": f"RequestId: {request} Error: Task timed out after 1.00 seconds",
    }
    # AWS: the process is a new one, and /tmp keeps its files.
    assert call(client, name)[0] == [1, True]


def test_timeout_of_code_that_will_not_stop(client, function):
    """S1: ignores every signal it can, and has children in sessions of their own."""
    name = function(
        """
        import os, signal
        def handler(event, context):
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
                signal.signal(number, signal.SIG_IGN)
            for _ in range(20):
                if os.fork() == 0:
                    os.setsid()
                    os.execv("/bin/sh", ["sh", "-c", "while :; do :; done # burn-for-ever"])
            while True:
                pass
        """,
        Timeout=1,
        MemorySize=256,
    )
    got = failure(client, name)
    assert got["errorType"] == "Sandbox.Timedout"

    def burning():
        return [pid for pid in processes() if "burn-for-ever" in command_line(pid)]

    wait_until(lambda: not burning(), lambda: f"the end of {burning()}")


def test_out_of_memory(client, function):
    """S4: too much memory ends the call as AWS says."""
    name = function(
        """
        def handler(event, context):
            if event.get("eat"):
                hog = [bytearray(b"x" * (16 << 20)) for _ in range(64)]
                return len(hog)
            return "small"
        """,
        MemorySize=128,
    )
    got = failure(client, name, {"eat": True})
    assert got["errorType"] in ("Runtime.ExitError", "Runtime.OutOfMemory", "MemoryError"), got
    assert call(client, name)[0] == "small"


def test_response_too_large(client, function):
    """S14: an answer that is too large."""
    name = function("def handler(event, context):\n    return 'x' * event\n")
    assert len(call(client, name, 6 * 1024 * 1024 - 2)[0]) == 6 * 1024 * 1024 - 2
    assert failure(client, name, 6_291_557) == {
        "errorMessage": "Response payload size exceeded maximum allowed payload size "
        "(6291556 bytes).",
        "errorType": "Function.ResponseSizeTooLarge",
    }
    assert call(client, name, 3)[0] == "xxx"


def test_response_that_is_no_json(client, function):
    name = function("def handler(event, context):\n    return {1, 2}\n")
    got = failure(client, name)
    assert got["errorType"] == "Runtime.MarshalError"


def test_exception_while_loading(client, function):
    name = function("raise RuntimeError('no wick')\n")
    for _ in range(2):
        got = failure(client, name)
        assert (got["errorType"], got["errorMessage"]) == ("RuntimeError", "no wick")


def test_exit_while_loading(client, function):
    name = function("import os\nos._exit(5)\n")
    for _ in range(2):
        got = failure(client, name)
        assert got["errorType"] == "Runtime.ExitError"
        assert "exit status 5" in got["errorMessage"]


def test_import_that_fails(client, function):
    name = function("import no_such_module\n\ndef handler(event, context):\n    pass\n")
    got = failure(client, name)
    assert got["errorType"] == "Runtime.ImportModuleError"
    assert got["errorMessage"] == (
        "Unable to import module 'app': No module named 'no_such_module'"
    )


def test_module_that_is_missing(client, function):
    name = function(code.zipped({"other.py": "x = 1\n"}))
    got = failure(client, name)
    assert got["errorType"] == "Runtime.ImportModuleError"
    assert "No module named 'app'" in got["errorMessage"]


def test_syntax_error(client, function):
    name = function("def handler(event, context:\n")
    assert failure(client, name)["errorType"] == "Runtime.UserCodeSyntaxError"


def test_handler_that_is_missing(client, function):
    name = function("x = 1\n")
    got = failure(client, name)
    assert got["errorType"] == "Runtime.HandlerNotFound"
    assert got["errorMessage"] == "Handler 'handler' missing on module 'app'"


def test_handler_without_a_dot(client, function):
    name = function("def handler(event, context):\n    pass\n", Handler="handler")
    assert failure(client, name)["errorType"] == "Runtime.MalformedHandlerName"


@pytest.mark.parametrize(
    "package, error",
    [
        (code.zipped({"readme": "no bootstrap"}), "Runtime.InvalidEntrypoint"),
        (code.zipped({"bootstrap": "#!/bin/sh\n"}, {"bootstrap": 0o644}),
         "Runtime.InvalidEntrypoint"),
        (code.bootstrap("#!/no/such/interpreter\n"), "Runtime.InvalidEntrypoint"),
        (code.bootstrap("#!/bin/sh\nexit 3\n"), "Runtime.ExitError"),
    ],
    ids=["missing", "not executable", "no interpreter", "exits"],
)  # fmt: skip
def test_bootstrap_that_does_not_start(client, function, package, error):
    name = function(package, Runtime="provided.al2023", Handler="any")
    for _ in range(2):
        assert failure(client, name)["errorType"] == error


def test_init_that_takes_too_long(client, function):
    """S15: AWS: after 10 s initialisation starts again inside the call, under the function's timeout."""
    name = function("import time\ntime.sleep(60)\n", Timeout=1)
    got = failure(client, name)
    assert got["errorType"] == "Sandbox.Timedout"
    assert got["errorMessage"].endswith("Task timed out after 1.00 seconds")


def test_runtime_that_never_asks_for_work(client, function):
    name = function(
        code.bootstrap("#!/bin/sh\nexec sleep 600\n"),
        Runtime="provided.al2023", Handler="any", Timeout=1,
    )  # fmt: skip
    assert failure(client, name)["errorType"] == "Sandbox.Timedout"


def test_failing_neighbours_do_not_disturb(client, function):
    """Functions that crash, hang and eat memory beside one that works."""
    good = function("def handler(event, context):\n    return event\n")
    crash = function("import os\ndef handler(event, context):\n    os._exit(1)\n")
    hang = function("def handler(event, context):\n    while True: pass\n", Timeout=1)
    eat = function("def handler(event, context):\n    return len(bytearray(b'x' * (1 << 30)))\n")
    with ThreadPoolExecutor(12) as pool:
        bad = [pool.submit(call, client, name) for name in (crash, hang, eat) * 3]
        answers = list(pool.map(lambda n: call(client, good, n)[0], range(60)))
        assert answers == list(range(60))
        assert all(future.result()[1]["FunctionError"] == "Unhandled" for future in bad)
