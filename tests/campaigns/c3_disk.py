"""C3: the disk is full, and has room again, while clients send events that nobody waits for.

With no room nothing is promised, and calls of functions that run go on. With room again all is well
without a new start. A kill afterwards loses nothing.

Cases: F13.
"""

import subprocess
import tempfile
import time

from campaign import Campaign, deploy, fresh_name
from harness.leftovers import wait_until
from ledger import WRITES, Ledger

CONFIG = 'auth = "none"\n[events]\nretry_seconds = [0.2, 0.4]\n'


def fill(place):
    """Takes all that is left on the disk."""
    with open(place / "filler", "wb", buffering=0) as filler:
        for size in (1 << 20, 4096, 1):
            block = b"x" * size
            try:
                while True:
                    filler.write(block)
            except OSError:
                pass


def rounds(campaign, server, ledger, name):
    """(202s while full, refusals, calls that failed while full, longest wait for room in ms)"""
    wrong, refused, failed, slowest = 0, 0, 0, 0.0
    for _ in range(campaign.size):
        sender = ledger.sender()
        for _ in range(campaign.random.randrange(20, 60)):
            assert sender.send(name) == 202
        fill(server.home)
        # What is left of the log's last page may still take one or the other.
        promised = set(ledger.promised)
        answers = [sender.send(name, filler="x" * 20_000) for _ in range(40)]
        refused += sum(answer == 503 for answer in answers)
        wrong += sum(answer not in (202, 503) for answer in answers)
        campaign.taken += len(ledger.promised - promised)
        try:
            server.client().invoke(FunctionName=name, Payload=b'{"ledger": "/dev/null"}')
        except Exception:  # noqa: BLE001: whatever it is, it is counted
            failed += 1
        (server.home / "filler").unlink()
        began = time.monotonic()
        wait_until(lambda: sender.send(name) == 202, "room for an event", 60)
        slowest = max(slowest, 1000 * (time.monotonic() - began))
        sender.close()
    return wrong, refused, failed, slowest


def main():
    with tempfile.TemporaryDirectory(prefix="lamplight-e2e-full-") as place:
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=48m", "full", place], check=True)
        try:
            campaign_on(place)
        finally:
            subprocess.run(["umount", "-l", place], check=True)


def campaign_on(place):
    sizes = {"tiny": 2, "pr": 10, "night": 200}
    with Campaign("c3", __doc__.splitlines()[0][4:], **sizes) as campaign:
        campaign.taken = 0
        server = campaign.server(isolation="process", config=CONFIG, data_dir=place)
        client = server.client()
        name = deploy(client, WRITES, FunctionName=fresh_name("writes"))
        ledger = Ledger(server)
        # Outside of the disk that is full.
        with tempfile.TemporaryDirectory() as outside:
            ledger.path = ledger.path.__class__(outside) / "starts"
            client.invoke(FunctionName=name, Payload=b'{"ledger": "/dev/null"}')
            wrong, refused, failed, slowest = rounds(campaign, server, ledger, name)
            server.kill()
            leases = ledger.leased()
            server.start()
            wait_until(lambda: ledger.queued() == 0, "the queue to empty", 60)
            server.stop()
            campaign.note("times that the disk was full", campaign.size)
            campaign.note("events refused with 503", refused)
            campaign.note("events taken while it was full, in what was left", campaign.taken)
            campaign.bar("refusals at the least", -refused, -campaign.size)
            campaign.bar("answers that are neither 202 nor 503", wrong, 0)
            campaign.bar("synchronous calls that failed meanwhile", failed, 0)
            campaign.bar("longest until events are taken again, ms", slowest, 5000, timed=True)
            ledger.settle(campaign, leases)


main()
