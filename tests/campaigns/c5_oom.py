"""C5: a storm of functions that run out of memory, with healthy ones beside them.

Each of the greedy ones takes more than it has. Its caller is told so at once and rightly, its
environment goes as a whole (the next call finds an empty /tmp), and the healthy ones notice nothing.

Cases: S4.
"""

import concurrent.futures
import contextlib
import json
import re
import base64
import time

import observer
from campaign import Campaign, GoodClient, code, deploy, fresh_name, percentile

# Says when each of its last steps was done: what comes after the last one is the answer's time.
GREEDY = """
import os, time

def handler(event, context):
    if event.get("look"):
        return os.listdir("/tmp")
    open("/tmp/kept", "w").write("x")
    held = []
    while True:
        held.append(b"x" * (1 << 20))
        if len(held) > 64:
            print("step", time.time(), flush=True)
"""
HEALTHY = 4


def main():
    sizes = {"tiny": (4, 8), "pr": (32, 200), "night": (32, 5000)}
    with Campaign("c5", __doc__.splitlines()[0][4:], **sizes) as campaign:
        at_once, total = campaign.size
        server = campaign.server()
        client = server.client()
        names = [
            deploy(client, GREEDY, FunctionName=fresh_name("greedy"), MemorySize=128, wait=False)
            for _ in range(at_once)
        ]
        for name in names:
            client.get_waiter("function_active_v2").wait(FunctionName=name)
        healthy = [GoodClient(server) for _ in range(HEALTHY)]
        before = max(good.baseline(30) for good in healthy)
        wrong, late = [], []

        def storm(name):
            answer = client.invoke(FunctionName=name, Payload=b"{}", LogType="Tail")
            ended = time.time()
            got = code.payload(answer)
            log = base64.b64decode(answer.get("LogResult", "")).decode(errors="replace")
            if steps := re.findall(r"step ([\d.]+)", log):
                late.append(1000 * (ended - float(steps[-1])))
            ended_right = (
                answer.get("FunctionError") == "Unhandled"
                and got.get("errorType") == "Runtime.ExitError"
                and got.get("errorMessage", "").endswith("signal: killed")
            )
            if not ended_right:
                wrong.append(got)

        def look(name):
            answer = client.invoke(FunctionName=name, Payload=json.dumps({"look": True}))
            found = code.payload(answer)
            if found != []:
                wrong.append(f"the next call found {found}")

        memory = None
        with contextlib.ExitStack() as stack:
            for good in healthy:
                stack.enter_context(good)
            pool = stack.enter_context(concurrent.futures.ThreadPoolExecutor(at_once))
            done = 0
            while done < total:
                list(pool.map(storm, names))
                done += len(names)
                list(pool.map(look, names))
                memory = memory or observer.rss(server.pid)
        campaign.note("ran out of memory", done)
        for line in wrong[:5]:
            print(line)
        campaign.bar("wrong answers", len(wrong), 0)
        campaign.bar("without the lines of the last steps", done - len(late), 0)
        campaign.bar("answer after the last step, p99, ms", percentile(late, 0.99), 500.0, timed=True)
        campaign.note("answer after the last step, p50, ms", percentile(late, 0.5))
        errors = [error for good in healthy for error in good.errors]
        for line in errors[:5]:
            print(line)
        campaign.bar("errors of healthy functions", len(errors), 0)
        campaign.note("calls of healthy functions", sum(len(good.seconds) for good in healthy))
        during = max(good.p99() for good in healthy)
        campaign.note("their p99 alone, ms", before)
        campaign.bar("their p99 beside the storm, ms", during, 2 * before, timed=True)
        grown = (observer.rss(server.pid) - memory) / 2**20
        campaign.bar("the server's memory after the first round, MiB", grown, 10.0)


main()
