"""C11: ten times the calls that there is room for, and a flood of events beside quiet neighbours.

What is too much is refused at once and in words, what was accepted is worked off, the neighbours get
their turn as if they were alone, the server does not grow with what waits, and afterwards all is as
before.

Cases: L1, L2.
"""

import bisect
import http.client
import json
import statistics
import threading
import time

from campaign import Campaign, GoodClient, deploy, fresh_name, percentile
from harness.leftovers import wait_until
from ledger import WRITES, Ledger

ROOM = 4
TAKES = 0.1
SLOW = f"import time\ndef handler(event, context):\n    time.sleep({TAKES})\n"
# Slower than its senders, so that it has a backlog.
NOISY_ROOM = 8
NOISY_TAKES = 0.02
SENDERS = 4
MIB = 1 << 20


def config(most):
    """A limit that the flood meets, and every record kept."""
    return f'auth = "none"\n[events]\nqueued = {most}\nretry_seconds = [0.2, 0.4]\nrecords = 10000000\n'


def judged(answer, body):
    if answer.status == 200 and not answer.getheader("x-amz-function-error"):
        return "good"
    if answer.status == 429 and json.loads(body).get("Reason") and answer.getheader("retry-after"):
        return "refused"
    return f"{answer.status} {body[:200]}"


class Callers:
    """Calls of one function at a pace that its answers do not change, each from a connection of its own."""

    def __init__(self, server, name, callers, pause):
        self.server, self.name, self.pause = server, name, pause
        self.answers = []
        self.over = threading.Event()
        self.threads = [threading.Thread(target=self._call, args=(n / callers,)) for n in range(callers)]

    def _call(self, offset):
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=60)
        due = time.monotonic() + offset * self.pause
        while not self.over.wait(max(0, due - time.monotonic())):
            began = time.monotonic()
            connection.request("POST", f"/2015-03-31/functions/{self.name}/invocations", b"{}")
            answer = connection.getresponse()
            kind = judged(answer, answer.read())
            self.answers.append((kind, time.monotonic() - began))
            due = max(due + self.pause, time.monotonic())
        connection.close()

    def run(self, seconds):
        for thread in self.threads:
            thread.start()
        time.sleep(seconds)
        self.over.set()
        for thread in self.threads:
            thread.join()
        return self

    def of(self, kind):
        return [seconds for known, seconds in self.answers if known == kind]


def overload(campaign, server, seconds):
    """Part one: calls that somebody waits for."""
    client = server.client()
    name = deploy(client, SLOW, FunctionName=fresh_name("full"))
    client.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=ROOM)
    Callers(server, name, ROOM, 0).run(1)
    peak = Callers(server, name, ROOM, 0).run(seconds)
    with GoodClient(server) as neighbour:
        heavy = Callers(server, name, 10 * ROOM, TAKES).run(seconds)
    good, refused = heavy.of("good"), heavy.of("refused")
    others = [kind for kind, _ in heavy.answers if kind not in ("good", "refused")]
    campaign.note("calls at ten times the room", len(heavy.answers))
    campaign.note("of them refused", len(refused))
    campaign.bar("answers that are neither good nor 429 with its reason", len(others), 0)
    campaign.bar("refusals missing, of an overload", int(not refused), 0)
    campaign.bar("p99 of a refusal, ms", 1000 * percentile(refused, 0.99), 10, timed=True)
    campaign.bar("peak goodput, times that under overload", len(peak.of("good")) / max(1, len(good)), 1 / 0.9)
    campaign.bar("wrong answers to a neighbour's calls", len(neighbour.errors), 0)
    campaign.bar("p99 of a neighbour's calls, ms", neighbour.p99(), 100, timed=True)
    client.delete_function(FunctionName=name)


class Quiet:
    """A function with an event now and then; keeps when each was sent and promised."""

    def __init__(self, server, ledger):
        self.name = deploy(server.client(), WRITES, FunctionName=fresh_name("quiet"))
        self.sender, self.ledger = ledger.sender(), ledger
        self.promised, self.seconds, self.refused = {}, [], 0
        self.over = threading.Event()
        self.thread = threading.Thread(target=self._run)

    def send(self):
        began = time.time()
        status = self.sender.send(self.name)
        if status == 202:
            self.seconds.append(time.time() - began)
            self.promised[self.sender.request_id] = time.time()
        else:
            self.refused += 1

    def _run(self):
        while not self.over.wait(0.1):
            self.send()

    def __enter__(self):
        self.send()
        wait_until(lambda: self.ledger.queued() == 0, "the first event to end", 60)
        self.promised.clear()
        self.seconds.clear()
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.thread.join()
        self.sender.close()

    def turns(self):
        """[(seconds until it began, events of others that began in between)]."""
        first, others = {}, []
        for request_id, when in self.ledger.begun():
            if request_id in self.promised:
                first.setdefault(request_id, when)
            else:
                others.append(when)
        others.sort()
        turns = []
        for request_id, promised in self.promised.items():
            began = first.get(request_id, float("inf"))
            between = bisect.bisect(others, began) - bisect.bisect(others, promised)
            turns.append((began - promised, max(0, between)))
        return turns


def flood(campaign, server, events):
    """Part two: calls that nobody waits for."""
    ledger = Ledger(server)
    client = server.client()
    noisy = deploy(client, WRITES, FunctionName=fresh_name("noisy"))
    client.put_function_concurrency(FunctionName=noisy, ReservedConcurrentExecutions=NOISY_ROOM)

    def send():
        sender = ledger.sender()
        for _ in range(events // SENDERS):
            if sender.send(noisy, sleep=NOISY_TAKES) == 429:
                # A client that minds what it is told, if not as long as it is told.
                time.sleep(0.05)
        sender.close()

    before = server.memory()
    most = before
    with Quiet(server, ledger) as quiet:
        threads = [threading.Thread(target=send) for _ in range(SENDERS)]
        began = time.monotonic()
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            most = max(most, server.memory())
            time.sleep(0.1)
        arriving, waiting = time.monotonic() - began, ledger.queued()
        try:
            wait_until(lambda: ledger.queued() < 10, "the flood to be worked off", 60 + 20 * arriving)
        except AssertionError:
            pass  # The ledger says what is missing.
        drained = time.monotonic() - began - arriving
    wait_until(lambda: ledger.queued() == 0, "the queue to empty", 60)
    turns = quiet.turns()
    server.stop()
    campaign.note("events of the flood that waited at its end", waiting)
    campaign.note("refused with 429", ledger.refused[429])
    campaign.bar("refused otherwise, or cut off", sum(ledger.refused.values()) - ledger.refused[429] + ledger.cut_off, 0)
    campaign.note("events of the neighbour", len(turns))
    campaign.bar("refused to the neighbour", quiet.refused, 0)
    campaign.bar("p99 until a neighbour's event is accepted, ms", 1000 * percentile(quiet.seconds, 0.99), 20, timed=True)
    campaign.bar("p99 until it begins, ms", 1000 * percentile([seconds for seconds, _ in turns], 0.99), 1000, timed=True)
    campaign.bar("events that began before it, median", statistics.median(between for _, between in turns), 64)
    ideal = waiting * NOISY_TAKES / NOISY_ROOM
    campaign.bar("time to work off, times what its room allows", drained / max(1, ideal), 2, timed=True)
    campaign.bar("memory grown, MiB", (most - before) / MIB, 100)
    ledger.settle(campaign, 0)


def main():
    # Seconds of overload, events of the flood, events of one function that may wait.
    sizes = {"tiny": (3, 3000, 2000), "pr": (8, 12_000, 8000), "night": (600, 1_000_000, 500_000)}
    with Campaign("c11", __doc__.splitlines()[0][5:], **sizes) as campaign:
        seconds, events, most = campaign.size
        server = campaign.server(isolation="process", config=config(most))
        overload(campaign, server, seconds)
        flood(campaign, server, events)


main()
