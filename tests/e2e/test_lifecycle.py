"""What stays of an environment from call to call, and what does not."""

import time

from harness import code
from harness.functions import call, deploy
from test_logs import logged

COUNTING = """
import os, pathlib, time
calls = 0

def handler(event, context):
    global calls
    calls += 1
    mark = pathlib.Path('/tmp/mark')
    seen = mark.exists()
    mark.write_text('x')
    do = event.get('do')
    if do == 'hang':
        time.sleep(60)
    if do == 'exit':
        os._exit(3)
    if do == 'eat':
        hog = [bytearray(16 << 20) for _ in range(64)]
    return {'calls': calls, 'seen': seen, 'stream': context.log_stream_name}
"""


def good(client, name, event=None):
    result, answer = call(client, name, event)
    assert "FunctionError" not in answer, result
    return result


def bad(client, name, event):
    result, answer = call(client, name, event)
    assert answer["FunctionError"] == "Unhandled", result
    return result


def test_a_timeout_ends_the_process_and_keeps_tmp(client):
    # AWS: recorded: globals are fresh, files in /tmp are there.
    name = deploy(client, COUNTING, Timeout=2)
    first = good(client, name)
    assert (first["calls"], first["seen"]) == (1, False)
    assert bad(client, name, {"do": "hang"})["errorType"] == "Sandbox.Timedout"
    after = good(client, name)
    assert after == {"calls": 1, "seen": True, "stream": first["stream"]}


def test_a_crash_ends_the_process_and_keeps_tmp(client):
    name = deploy(client, COUNTING)
    first = good(client, name)
    assert bad(client, name, {"do": "exit"})["errorType"] == "Runtime.ExitError"
    after = good(client, name)
    assert after == {"calls": 1, "seen": True, "stream": first["stream"]}
    assert good(client, name)["calls"] == 2


def test_running_out_of_memory_ends_the_whole_environment(client):
    """S4: the next call is a cold one."""
    name = deploy(client, COUNTING, MemorySize=128, Timeout=20)
    first = good(client, name)
    error = bad(client, name, {"do": "eat"})
    assert error["errorType"] == "Runtime.ExitError"
    assert error["errorMessage"].endswith("signal: killed")
    after = good(client, name)
    assert (after["calls"], after["seen"]) == (1, False)
    assert after["stream"] != first["stream"]


TICKING = """
import threading, time
ticks = 0

def tick():
    global ticks
    while True:
        time.sleep(0.01)
        ticks += 1

threading.Thread(target=tick, daemon=True).start()

def handler(event, context):
    before = ticks
    if event.get('work'):
        time.sleep(0.5)
    return {'before': before, 'after': ticks}
"""


def test_between_calls_an_environment_is_frozen(client):
    name = deploy(client, TICKING)
    working = good(client, name, {"work": True})
    assert working["after"] > working["before"]
    time.sleep(2)  # The time that must not pass inside.
    rested = good(client, name)
    # Unfrozen, the thread would have counted some two hundred.
    assert rested["before"] - working["after"] < 100


def test_a_crash_loop_is_slowed_down(client, logs):
    name = deploy(client, "print('starting')\nraise SystemExit(3)\n")
    began = time.monotonic()
    errors = [bad(client, name, {}) for _ in range(30)]
    pausing = [one for one in errors if "in a row" in one["errorMessage"]]
    assert pausing and all(one["errorType"] == errors[0]["errorType"] for one in pausing)
    assert pausing[0]["errorMessage"].endswith(
        "Error: Initialisation failed 4 times in a row. It is tried again once a second."
    )
    passed = time.monotonic() - began
    lines = logged(logs, name, "REPORT RequestId: ", 30)
    # Four for free, and one for each second since the last of them.
    assert lines.count("starting") <= 4 + passed + 1
    # A change begins anew.
    client.update_function_code(FunctionName=name, ZipFile=code.python(COUNTING))
    client.get_waiter("function_updated_v2").wait(FunctionName=name)
    assert good(client, name)["calls"] == 1
