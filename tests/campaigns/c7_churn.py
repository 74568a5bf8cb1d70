"""C7: environments start and end in every way there is, and nothing is left of any.

Every start is a new function: one that answers, one that runs out of time, one that crashes, one
that is deleted while it runs, one that does not initialise. Afterwards every count of the server is
where it was, and its memory has not grown with the number of starts.

Cases: S1, S3, S15.
"""

import concurrent.futures
import itertools
import time

import observer
from campaign import ECHO, Campaign, deploy, forget, fresh_name
from harness import leftovers
from harness.leftovers import wait_until

# Sandboxes that are built ahead when nothing has started for a while.
KEPT = 2

SLEEP = "import time\ndef handler(event, context):\n    time.sleep(60)\n"
CRASH = "import os\ndef handler(event, context):\n    os._exit(3)\n"
NO_INIT = "raise RuntimeError('not today')\n"


def answers(client, logs, name):
    deploy(client, ECHO, FunctionName=name)
    answer = client.invoke(FunctionName=name, Payload=b"1")
    assert answer["Payload"].read() == b"1"


def times_out(client, logs, name):
    deploy(client, SLEEP, FunctionName=name, Timeout=1)
    assert b"Task timed out" in client.invoke(FunctionName=name)["Payload"].read()


def crashes(client, logs, name):
    deploy(client, CRASH, FunctionName=name)
    assert b"exit status 3" in client.invoke(FunctionName=name)["Payload"].read()


def does_not_initialise(client, logs, name):
    deploy(client, NO_INIT, FunctionName=name)
    assert b"not today" in client.invoke(FunctionName=name)["Payload"].read()


def is_deleted(client, logs, name):
    deploy(client, SLEEP, FunctionName=name, Timeout=2)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        call = pool.submit(client.invoke, FunctionName=name)
        client.delete_function(FunctionName=name)
        try:
            call.result()["Payload"].read()
        except client.exceptions.ResourceNotFoundException:
            pass  # The deletion was faster.
    deploy(client, ECHO, FunctionName=name)


WAYS = [answers, answers, answers, times_out, crashes, is_deleted, does_not_initialise, answers]


def settled(count, before, seconds=20):
    """The counts when they are as they were, or after some time: ends take a moment."""
    end = time.monotonic() + seconds
    while True:
        after = count()
        same = all(after[what] <= number for what, number in before.items() if what != "threads")
        if same or time.monotonic() > end:
            return after
        time.sleep(0.5)


def slope(samples):
    """MiB for each 1000 starts, by least squares over the second half."""
    samples = samples[len(samples) // 2 :]
    n = len(samples)
    mean_x = sum(x for x, _ in samples) / n
    mean_y = sum(y for _, y in samples) / n
    spread = sum((x - mean_x) ** 2 for x, _ in samples) or 1
    return sum((x - mean_x) * (y - mean_y) for x, y in samples) / spread * 1000 / 2**20


def main():
    with Campaign("c7", __doc__.splitlines()[0][4:], tiny=24, pr=500, night=20_000) as campaign:
        server = campaign.server()
        # Once more where a connection that was idle is closed in the moment in which it is used.
        again = {"retries": {"total_max_attempts": 2, "mode": "standard"}}
        client, logs = server.client(**again), server.client("logs", **again)
        ways = itertools.cycle(campaign.random.sample(WAYS, len(WAYS)))

        def one(way):
            name = fresh_name("churn")
            try:
                way(client, logs, name)
                return None
            except Exception as error:  # noqa: BLE001: counted, and said
                return f"{way.__name__}: {error!r}"
            finally:
                forget(client, logs, name)

        def count():
            client.close()  # Its idle connections are the server's too.
            logs.close()
            return observer.counts(server)

        def environments():
            return leftovers.named(server.pid, "jail-init", "jail-keeper")

        def blanks():
            """Sandboxes kept ahead, of which there are as many as lately there was need for."""
            return leftovers.named(server.pid, "jail-blank")

        def quiet():
            wait_until(lambda: not environments() and len(blanks()) <= KEPT, "the environments' end", 60)

        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            list(pool.map(one, WAYS * 2))
            quiet()
            before, wrong, samples = count(), [], []
            step = max(8, campaign.size // 20)
            for started in range(0, campaign.size, step):
                wrong += filter(None, pool.map(one, itertools.islice(ways, step)))
                wait_until(lambda: not environments(), "the environments' end", 60)
                samples.append((started + step, observer.rss(server.pid)))
        quiet()
        after = settled(count, before)
        campaign.note("starts", samples[-1][0])
        campaign.bar("wrong answers", len(wrong), 0)
        for line in wrong[:5]:
            print(line)
        for what, number in before.items():
            # Threads that wait for disks are as many as there was need for at one time.
            more = 8 if what == "threads" else 0
            campaign.bar(f"{what} more than before", max(0, after[what] - number), more)
        growth = slope(samples)
        if campaign.size >= 10_000:
            campaign.bar("memory for each 1000 starts, MiB", growth, 1.0)
        else:
            # So few starts say little: the allocator's own steps are as large.
            campaign.note("memory for each 1000 starts, MiB", growth)
            campaign.bar("memory more than before, MiB",
                         (samples[-1][1] - samples[0][1]) / 2**20, 8.0)  # fmt: skip


main()
