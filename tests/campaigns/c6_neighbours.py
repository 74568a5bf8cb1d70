"""C6: neighbours that take all they can of everything, and a victim between them.

Eight at once: fork bombs, descriptor hogs, spinning processors, full disks, floods of packets. None
gets more than its share, each is ended at its time with all it has started, and the victim's calls
and the API answer as before.

Cases: S1, S5, S6, S7, S12.
"""

import concurrent.futures
import threading
import time

from campaign import Campaign, GoodClient, code, deploy, fresh_name, percentile
from harness import leftovers
from harness.leftovers import wait_until

# Where nothing is: what is sent there is refused by the host's own rules, and leaves no machine.
HOGS = {
    "forks": """
import os
def handler(event, context):
    while True:
        try:
            if os.fork() == 0:
                while True:
                    pass
        except OSError:
            pass
""",
    "descriptors": """
import os, socket
def handler(event, context):
    held = []
    while True:
        try:
            held.append(socket.socket())
            held.append(open("/dev/null"))
        except OSError:
            pass
""",
    "processors": """
import os, signal
def handler(event, context):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    for _ in range(60):
        if os.fork() == 0:
            os.setsid()
            while True:
                pass
    while True:
        pass
""",
    "disk": """
import os
def handler(event, context):
    while True:
        try:
            with open("/tmp/full", "wb") as file:
                os.unlink("/tmp/full")
                while True:
                    file.write(bytes(1 << 20))
        except OSError:
            pass
""",
    "packets": """
import socket
def handler(event, context):
    held = []
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.setblocking(False)
    n = 0
    while True:
        n += 1
        try:
            udp.sendto(b"x" * 100, (f"10.255.255.{n % 250}", 1 + n % 60000))
            tcp = socket.socket()
            tcp.setblocking(False)
            tcp.connect_ex((f"10.255.255.{n % 250}", 80))
            held = [*held[-500:], tcp]
        except OSError:
            pass
""",
    "memory": """
def handler(event, context):
    held = bytearray(90 << 20)
    while True:
        for at in range(0, len(held), 4096):
            held[at] = (held[at] + 1) % 256
""",
    "logs": """
import os
def handler(event, context):
    while True:
        os.write(1, b"noise " * 1000 + b"\\n")
""",
    "runtime api": """
import os, socket
def handler(event, context):
    host, port = os.environ["AWS_LAMBDA_RUNTIME_API"].split(":")
    held = []
    while True:
        try:
            held.append(socket.create_connection((host, int(port)), 1))
            held[-1].sendall(b"POST /2018-06-01/runtime/invocation/x/response HTTP/1.1\\r\\n")
        except OSError:
            held = []
""",
}


HANDLER = "def handler(event, context):\n"
# The first call is for the start, whose time is not what is measured.
WARM = "    if event.get('warm'):\n        return\n"


def main():
    sizes = {"tiny": 2, "pr": 20, "night": 1200}
    with Campaign("c6", __doc__.splitlines()[0][4:], **sizes) as campaign:
        server = campaign.server()
        client = server.client()
        timeout = min(campaign.size, 10)
        names = {}
        for kind, source in HOGS.items():
            source = source.replace(HANDLER, HANDLER + WARM)
            names[kind] = deploy(
                client, source, FunctionName=fresh_name("hog"), MemorySize=256, Timeout=timeout
            )
        good = GoodClient(server, pause=0.01)
        alone = good.baseline(200)

        def listing(seconds, calls=0):
            """How long the API takes to answer, in milliseconds."""
            taken, end = [], time.monotonic() + seconds
            while time.monotonic() < end or len(taken) < calls:
                started = time.monotonic()
                client.list_functions()
                taken.append(1000 * (time.monotonic() - started))
                time.sleep(0.02)
            return taken

        control_alone = percentile(listing(0, 50), 0.99)
        wrong, late = [], []

        def hog(kind, rounds):
            for _ in range(rounds):
                client.invoke(FunctionName=names[kind], Payload=b'{"warm": true}')["Payload"].read()
                started = time.monotonic()
                answer = client.invoke(FunctionName=names[kind])
                taken = time.monotonic() - started
                got = code.payload(answer)
                if got.get("errorType") != "Sandbox.Timedout":
                    wrong.append(f"{kind}: {got}")
                late.append(1000 * (taken - timeout))

        rounds = max(1, campaign.size // timeout)
        before = set(leftovers.descendants(server.pid))
        kills = []
        with good, concurrent.futures.ThreadPoolExecutor(len(HOGS) + 1) as pool:
            work = [pool.submit(hog, kind, rounds) for kind in HOGS]
            control = pool.submit(listing, campaign.size - 1)
            done = threading.Event()

            def watch():
                # How many processes there are a moment after the last hog was answered.
                concurrent.futures.wait(work)
                done.set()

            pool.submit(watch)
            done.wait()
            answered = time.monotonic()

            def gone():
                now = set(leftovers.descendants(server.pid))
                now -= set(leftovers.named(server.pid, "jail-blank"))
                # Init and its two helpers of each environment may stay, with the victim's.
                return len(now) <= len(before) + 3 * len(HOGS)

            wait_until(gone, "the end of what the hogs started", 30)
            kills.append(1000 * (time.monotonic() - answered))
            for job in work:
                job.result()
            during = control.result()
        for line in wrong[:5]:
            print(line)
        campaign.note("seconds", campaign.size)
        campaign.bar("wrong answers to hogs", len(wrong), 0)
        campaign.note("answer after the time was up, p50, ms", percentile(late, 0.5))
        campaign.note("answer after the time was up, p99, ms", percentile(late, 0.99))
        campaign.bar("all they started gone after, ms", max(kills), 250.0, timed=True)
        for line in good.errors[:5]:
            print(line)
        campaign.bar("errors of the victim", len(good.errors), 0)
        campaign.note("calls of the victim", len(good.seconds))
        campaign.note("its p99 alone, ms", alone)
        campaign.bar("its p99 between them, ms", good.p99(), 2 * alone, timed=True)
        campaign.note("listing functions alone, p99, ms", control_alone)
        campaign.bar(
            "listing functions meanwhile, p99, ms", percentile(during, 0.99),
            2 * control_alone, timed=True,
        )  # fmt: skip


main()
