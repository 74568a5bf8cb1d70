"""C1: the server is killed again and again while clients send events that nobody waits for.

Every 202 is written down outside of the server, and so is every start of a function. In the end
each promised event has exactly one terminal record, and functions ran more often than that only
where a lease was open at a kill.

Cases: F1, F2, F6.
"""

import threading
import time

from campaign import Campaign, deploy, fresh_name
from harness.leftovers import wait_until
from ledger import WRITES, Ledger

SOON = "auth = \"none\"\n[events]\nretry_seconds = [0.2, 0.4]\nrecords = 10000000\n"
SENDERS = 8


class Life:
    """What senders may do: so many events in this life of the server."""

    def __init__(self):
        self.changed = threading.Condition()
        self.left, self.over = 0, False

    def begin(self, events):
        with self.changed:
            self.left += events
            self.changed.notify_all()

    def take(self):
        with self.changed:
            self.changed.wait_for(lambda: self.left > 0 or self.over)
            if self.left <= 0:
                return False
            self.left -= 1
            self.changed.notify_all()
            return True

    def down_to(self, left):
        """Waits until only so many are left to send."""
        with self.changed:
            assert self.changed.wait_for(lambda: self.left <= left, 60), "events are not sent"

    def end(self):
        with self.changed:
            self.over = True
            self.changed.notify_all()


def backlog(client, ledger, events):
    """Events of a function that has room for one call: they wait through all kills."""
    name = deploy(client, WRITES, FunctionName=fresh_name("later"), Timeout=60)
    client.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=1)
    client.put_function_event_invoke_config(
        FunctionName=name, MaximumEventAgeInSeconds=60 if events < 10_000 else 3600
    )

    def send(count):
        sender = ledger.sender()
        for _ in range(count):
            assert sender.send(name, sleep=5) == 202
        sender.close()

    threads = [threading.Thread(target=send, args=(events // SENDERS,)) for _ in range(SENDERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return name


def work_off(ledger):
    """Until the queue is empty, or nothing leaves it any more: the ledger says what is missing."""
    left, since = ledger.queued(), time.monotonic()
    while left > 0 and time.monotonic() - since < 30:
        time.sleep(0.2)
        now = ledger.queued()
        if now < left:
            left, since = now, time.monotonic()


def main():
    sizes = {"tiny": (6, 1200, 200), "pr": (40, 10_000, 2000), "night": (1000, 500_000, 100_000)}
    with Campaign("c1", __doc__.splitlines()[0][4:], **sizes) as campaign:
        kills, events, waiting = campaign.size
        server = campaign.server(isolation="process", config=SOON)
        client = server.client()
        name = deploy(client, WRITES, FunctionName=fresh_name("now"))
        ledger, life = Ledger(server), Life()
        later = backlog(client, ledger, waiting)

        def send(number):
            sender = ledger.sender()
            while life.take():
                if sender.send(name, fail=number == 0) != 202:
                    # It counts for nothing, and the server may take a moment to come back.
                    life.begin(1)
                    time.sleep(0.02)
            sender.close()

        threads = [threading.Thread(target=send, args=(n,), daemon=True) for n in range(SENDERS)]
        for thread in threads:
            thread.start()
        leases, ready, deepest = 0, [], 0
        for life_number in range(kills):
            life.begin(events // kills)
            # In the midst of the sending; or at a moment when what was sent is being worked on.
            life.down_to(campaign.random.randrange(events // kills // 4, events // kills))
            if life_number % 3 == 2:
                time.sleep(campaign.random.uniform(0.05, 1.5))
            footprint = server.kill().before_restart()
            # Its successor is at work at once, and takes the names of its groups.
            footprint.cgroups.clear()
            leases += ledger.leased()
            began = time.monotonic()
            server.start()
            ready.append(time.monotonic() - began)
            deepest = max(deepest, ledger.queued())
            wait_until(lambda: not footprint.left(), "the killed server's remains", 30)
        life.end()
        for thread in threads:
            thread.join()
        server.client().delete_function(FunctionName=later)
        work_off(ledger)
        server.stop()
        campaign.note("kills", kills)
        campaign.note("most events waiting at a start", deepest)
        campaign.bar("longest start after a kill, ms", 1000 * max(ready), 1000, timed=True)
        campaign.bar("refusals", sum(ledger.refused.values()), 0)
        ledger.settle(campaign, leases)


main()
