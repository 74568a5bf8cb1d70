"""Many first calls at the same moment: of one function, and of functions that were never called.

Each burst has a server of its own. After it, the server has to end and to leave nothing.
"""

import json
import time

import meter
from contenders import EVENT, FUNCTIONS, Lamplight
from figures import percentile
from harness import code

# Stays until everybody is there, so that no environment takes two calls.
HOLD = """
import time, uuid

ID = uuid.uuid4().hex

def handler(event, context):
    began = time.time()
    time.sleep(max(0, event["until"] - began))
    return {"id": ID, "began": began}
"""


def one_function(count):
    """`count` environments of one function from nothing."""
    with Judged() as (lamplight, row):
        name = lamplight.active(
            lamplight.create("python", MemorySize=128, Code={"ZipFile": code.python(HOLD)})
        )
        lamplight.settle()
        event = json.dumps({"until": time.time() + 5 + count / 40}).encode()
        request = lamplight.signer.request(f"{FUNCTIONS}/{name}/invocations", event)
        run = meter.load(lamplight.port, [request], count, each=1, bodies=True)
        bodies = [json.loads(body) for body in run.bodies]
        began = sorted(body["began"] - run.started for body in bodies)
        row |= {"kind": "burst", "what": "one function", "count": count, **run.figures(),
                "environments": len({body["id"] for body in bodies}),
                # Of the calls, these are the times until the handler began.
                "p50": percentile(began, 0.5), "p99": percentile(began, 0.99),
                "all": began[-1] if began else None}  # fmt: skip
    return row


def many_functions(count, language="python"):
    """`count` functions that were never called, each once, all at the same moment."""
    with Judged() as (lamplight, row):
        run = first_calls(lamplight, deployed(lamplight, language, count))
        row |= {"kind": "burst", "what": f"functions in {language}", "count": count, **run.figures(),
                "all": run.wall}  # fmt: skip
    return row


def deployed(lamplight, language, count):
    """New functions, each with bytes of its own."""
    names = [
        lamplight.create(language, MemorySize=128, mark=f"{language} {number}") for number in range(count)
    ]
    for name in names:
        lamplight.active(name)
    lamplight.settle()
    return names


def first_calls(lamplight, names):
    requests = [lamplight.signer.request(f"{FUNCTIONS}/{name}/invocations", EVENT) for name in names]
    return meter.load(lamplight.port, requests, len(requests), each=1)


class Judged:
    """A server for one burst; the row says what it left on the machine when it ended."""

    def __enter__(self):
        self.row, self.lamplight = {"left": None}, Lamplight()
        return self.lamplight.__enter__(), self.row

    def __exit__(self, kind, *_):
        server = self.lamplight.server
        try:
            if kind is None:
                server.stop()
                self.row["left"] = 0
        except AssertionError as left:
            self.row |= {"left": max(1, len(str(left).splitlines()) - 1), "what is left": str(left)[:2000]}
        finally:
            server.discard()
