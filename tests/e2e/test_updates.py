"""Updates of code and environment while clients go on calling: what an update answered is what
calls run that begin after it, and the disk does not fill with what was replaced.

`LAMPLIGHT_TEST_UPDATES` is how many; 1000 is the size for a patient machine.
"""

import os
import random
from concurrent.futures import ThreadPoolExecutor

import pytest
from harness import code
from harness.functions import call, deploy, fresh_name
from harness.leftovers import disk_use, wait_until
from harness.steady import settled

UPDATES = int(os.environ.get("LAMPLIGHT_TEST_UPDATES", "30"))
CLIENTS = 8
SIZE = 1 << 17
SOURCE = """
import os

def handler(event, context):
    return {{"code": {}, "environment": int(os.environ["NUMBER"])}}
"""


def package(number):
    blob = random.Random(number).randbytes(SIZE)
    return code.zipped({"app.py": SOURCE.format(number), "blob": blob})


@pytest.mark.timeout(100 + UPDATES * 3)
def test_calls_that_begin_after_an_update_run_it(own_server):
    server = own_server()
    client = server.client()
    name = fresh_name()
    deploy(client, package(0), FunctionName=name, Environment={"Variables": {"NUMBER": "0"}})
    # The newest of each that an update has answered.
    answered = {"code": 0, "environment": 0}
    stop, calls, old = False, [0] * CLIENTS, []

    def keep_calling(number):
        while not stop:
            least = dict(answered)
            payload, answer = call(client, name)
            assert "FunctionError" not in answer, payload
            calls[number] += 1
            if any(payload[what] < least[what] for what in least):
                old.append((least, payload))

    with ThreadPoolExecutor(CLIENTS) as pool:
        callers = [pool.submit(keep_calling, number) for number in range(CLIENTS)]
        try:
            for number in range(1, UPDATES + 1):
                if number % 2:
                    client.update_function_code(FunctionName=name, ZipFile=package(number))
                    answered["code"] = number
                else:
                    variables = {"NUMBER": str(number)}
                    client.update_function_configuration(FunctionName=name, Environment={"Variables": variables})
                    answered["environment"] = number
                settled(client, name)
                payload, _ = call(client, name)
                assert payload == answered
        finally:
            stop = True
        for caller in callers:
            caller.result()
    assert old == []
    assert sum(calls) > UPDATES
    # 32 that calls may still run, the newest, and each zipped and unpacked.
    most = 40 * 2 * SIZE
    used = lambda: sum(disk_use(server.data_dir / part) for part in ("blobs", "cache"))  # noqa: E731
    wait_until(lambda: used() < most, lambda: f"{used()} bytes to shrink", 30)
