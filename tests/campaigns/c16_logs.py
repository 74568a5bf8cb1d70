"""C16: functions that write what no log should bear, and a server that is killed meanwhile.

Every call writes numbered lines between rubbish: invalid UTF-8, NULs, terminal escapes, forged
platform lines, lines without an end. Of each call that was answered every numbered line is there,
once, in order and as an event of its own; what is cut is marked; nobody waits for a log.

Cases: G1, G3.
"""

import collections
import concurrent.futures
import json
import re
import time

from campaign import Campaign, code, deploy, fresh_name
from harness.leftovers import wait_until

NOISY = r"""
import os, random

def handler(event, context):
    r = random.Random(event["seed"])
    for n in range(event["lines"]):
        kind = r.randrange(12)
        if kind == 0:
            os.write(1, bytes(r.randrange(256) for _ in range(200)).replace(b"\n", b"?") + b"\n")
        elif kind == 1:
            os.write(1, b"\0\0\x1b[2J\x1b]0;owned\x07\n")
        elif kind == 2:
            os.write(1, f"END RequestId: {context.aws_request_id}\n".encode())
        elif kind == 3:
            os.write(1, b"REPORT RequestId: x\tDuration: 0 ms\n")
        os.write(1, f"<{event['call']}:{n}>\n".encode())
    if event["long"]:
        os.write(1, b"L" * (1 << 20))
        os.write(1, b"\n")
    os.write(1, f"<{event['call']}:last>".encode())
    return event["call"]
"""
CUT = "[line cut at 256 KiB]"


def events(logs, group):
    token, found = {}, []
    while True:
        page = logs.filter_log_events(logGroupName=group, limit=10_000, **token)
        found += page["events"]
        if "nextToken" not in page:
            return found
        token = {"nextToken": page["nextToken"]}


def main():
    sizes = {"tiny": (60, 30, 1), "pr": (500, 100, 3), "night": (50_000, 100, 20)}
    with Campaign("c16", __doc__.splitlines()[0][5:], **sizes) as campaign:
        calls, lines, kills = campaign.size
        server = campaign.server()
        client = server.client(read_timeout=20)
        name = deploy(client, NOISY, FunctionName=fresh_name("noisy"), MemorySize=256)
        answered, long, stalled, cut_off = set(), set(), [], 0

        def call(number):
            nonlocal cut_off
            event = {"call": number, "seed": campaign.arguments.seed * 1_000_003 + number,
                     "lines": lines, "long": number % 25 == 0}  # fmt: skip
            started = time.monotonic()
            try:
                answer = client.invoke(FunctionName=name, Payload=json.dumps(event))
                assert code.payload(answer) == number
            except (client.exceptions.ClientError, AssertionError) as error:
                stalled.append(f"{number}: {error!r}")
            except Exception:  # noqa: BLE001: the server was killed under it
                cut_off += 1
            else:
                answered.add(number)
                if event["long"]:
                    long.add(number)
            if time.monotonic() - started > 15:
                stalled.append(f"{number}: took {time.monotonic() - started:.0f} s")

        part = -(-calls // (kills + 1))
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            for first in range(0, calls, part):
                work = [pool.submit(call, n) for n in range(first, min(first + part, calls))]
                if first + part < calls:
                    concurrent.futures.wait(work[: len(work) // 4])
                    footprint = server.footprint().before_restart()
                    server.process.kill()
                    server.process.wait()
                    concurrent.futures.wait(work)
                    server.start()
                    wait_until(lambda: not footprint.left(), "the killed server's remains", 30)
                    client = server.client(read_timeout=20)
                concurrent.futures.wait(work)

        seen, order, cuts, merged = collections.Counter(), collections.defaultdict(list), 0, 0
        for event in events(server.client("logs"), f"/aws/lambda/{name}"):
            message = event["message"]
            cuts += message.endswith(CUT)
            marks = re.findall(r"<(\d+):(\d+|last)>", message)
            merged += len(marks) > 1 or (len(marks) == 1 and not re.fullmatch(
                r"<\d+:\w+>\n?", message))  # fmt: skip
            for number, line in marks:
                seen[int(number), line] += 1
                order[int(number)].append(lines if line == "last" else int(line))
        wanted = [(n, line) for n in answered for line in [*map(str, range(lines)), "last"]]
        campaign.note("calls answered", len(answered))
        campaign.note("calls cut off by a kill", cut_off)
        campaign.bar("answered calls at the least", -len(answered), -calls // 3)
        for line in stalled[:5]:
            print(line)
        campaign.bar("calls that stalled or failed", len(stalled), 0)
        campaign.bar("lines lost", sum(not seen[key] for key in wanted), 0)
        campaign.bar("lines stored twice", sum(seen[key] > 1 for key in wanted), 0)
        campaign.bar("lines that are not events of their own", merged, 0)
        jumbled = sum(order[n] != sorted(order[n]) for n in answered)
        campaign.bar("calls with lines out of order", jumbled, 0)
        campaign.bar("long lines without the mark of a cut", max(0, len(long) - cuts), 0)


main()
