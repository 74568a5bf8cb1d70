"""C2: the power goes at any write and any sync, and again while the server recovers from that.

A server under load is recorded with all that it writes, syncs and answers. From that, machines are
made that lost their power after any of these steps: what was synced is there, and of the rest
anything may be. Whatever was answered by then has to be there too. Some of the machines get a server
again, in another boot, which has to keep all promises; its recovery is recorded, and cut off likewise.

Cases: F1, F2, F7.
"""

import collections
import contextlib
import pathlib
import sys
import tempfile
import uuid

from campaign import Campaign, code
from disk import KINDS, taken
from harness.leftovers import wait_until
from harness.server import Server
from ledger import Ledger
from load import Load
from proof import LINE, Proof
from recording import RecordedServer, Replay, possible
from stories import Stories

CONFIG = 'auth = "none"\n[events]\nretry_seconds = [0.2, 0.4]\nrecords = 10000000\n'
FIGURES = {
    "unreadable": "states that the store cannot be read from",
    "lost": "states that have lost something answered",
    "blobs": "states with code that is missing or torn",
    "server": "promises that a server on such a machine breaks",
}


def in_another_boot(server, command):
    boot = server.home / "boot"
    boot.write_text(f"{uuid.uuid4()}\n")
    bind = 'mount --bind "$0" /proc/sys/kernel/random/boot_id && exec "$@"'
    return ["unshare", "--mount", "sh", "-c", bind, str(boot), *command]


class Rebooted(Server):
    def command(self):
        return in_another_boot(self, super().command())


class RecordedRebooted(RecordedServer):
    def command(self):
        return in_another_boot(self, super().command())


def drawn(dice, steps, count):
    """{step: [(kind, seed)]} for `count` machines, spread evenly. Most have a mixed fate."""
    numbers = [number for number, step in enumerate(steps) if step[0] != "begin sync"]
    times, rest = divmod(count, len(numbers))
    points = collections.defaultdict(list)
    for number in numbers * times + dice.sample(numbers, rest):
        points[number].append((dice.choice(KINDS + ("mixed",) * 4), dice.randrange(1 << 32)))
    return points


class Machines:
    """Servers on machines that have lost their power."""

    def __init__(self, campaign, proof, load):
        self.campaign, self.proof, self.load = campaign, proof, load
        self.recoveries, self.cut = 0, 0

    def _home(self, crash):
        home = pathlib.Path(tempfile.mkdtemp(prefix="lamplight-c2-", dir="/dev/shm"))
        crash.put(home)
        return home

    def _on(self, home, kind):
        return self.campaign.server(isolation="process", config=CONFIG, data_dir=home, kind=kind)

    def _gone(self, server):
        server.discard()
        self.campaign.servers.remove(server)

    def keeps(self, crash, where):
        """Whether a server keeps all promises there."""
        self.recoveries += 1
        server = None
        try:
            server = self._on(self._home(crash), Rebooted)
            broken = list(self._broken(server))
            server.stop()
            ledger = self._ledger(server)
            ends = ledger.ends()
            broken += [f"{name} ends {len(ends.get(name, []))} times" for name in ledger.promised
                       if len(ends.get(name, [])) != 1]  # fmt: skip
        except Exception as error:  # noqa: BLE001: whatever it is, it breaks the promise
            broken = [repr(error)[-2000:]]
        self.proof.broken["server"].update((f"{where}: {what}", "") for what in broken)
        if server is not None:
            self._gone(server)

    def _ledger(self, server):
        ledger = Ledger(server)
        ledger.promised = {name for (_, name), _ in self.proof.stories.promised("event")}
        return ledger

    def _broken(self, server):
        client, logs = server.client(), server.client("logs")
        for (_, name), states in self.proof.stories.promised("function"):
            try:
                digest = self._answers(client, name)
            except client.exceptions.ResourceNotFoundException:
                digest = None
            if digest not in [state and state[1] for state in states]:
                yield f"{name} answers as {digest}"
        for path, lines in self.proof.lines.certain.items():
            found = logs.filter_log_events(logGroupName=path[-2].replace("+", "/"))["events"]
            there = {line for event in found for line in LINE.findall(event["message"].encode())}
            yield from (f"the line {line} is not read" for line in lines - there)
        try:
            wait_until(lambda: self._ledger(server).queued() == 0, "the queue to empty", 60)
        except AssertionError as error:
            yield f"{error}"

    def _answers(self, client, name):
        """The digest of the code that a function runs, by what it answers."""
        says = code.payload(client.invoke(FunctionName=name))
        return next((digest for digest, said in self.load.says.items() if said == says), says)

    def cut_off(self, crash, count, where):
        """A recovery that is cut off as well, at `count` of its steps."""
        home = self._home(crash)
        replay = Replay(taken(home))
        try:
            server = self._on(home, RecordedRebooted)
        except AssertionError as error:
            self.proof.broken["server"][f"{where}: {str(error)[-2000:]}"] = ""
            return
        server.kill()
        steps = server.recorded()
        before = self.proof.states
        self.proof.recover(steps, replay, drawn(self.campaign.random, steps, count))
        self.cut += self.proof.states - before
        self._gone(server)


def run(campaign):
    rounds, states, servers, recoveries, cuts = campaign.size
    stories = Stories()
    server = campaign.server(isolation="process", config=CONFIG, kind=RecordedServer)
    load = Load(server, stories, rounds)
    load.run()
    proof = Proof(stories, (server.data_dir / "credentials").read_bytes())
    server.kill()
    steps = server.recorded()
    machines, replay = Machines(campaign, proof, load), Replay()
    points = drawn(campaign.random, steps, states)
    # The later, the more was promised.
    late = [number for number in sorted(points) if number > len(steps) // 3]
    chosen = campaign.random.sample(late, servers + recoveries)
    with contextlib.closing(proof):
        for number, crash in proof.follow(steps, replay, points):
            if number not in chosen:
                continue
            if chosen.index(number) < servers:
                machines.keeps(crash, f"after step {number}, {crash.kind}")
            else:
                machines.cut_off(crash, cuts, f"after step {number}, {crash.kind}")
            # Once, however many machines a step has.
            chosen[chosen.index(number)] = None
    report(campaign, proof, machines, steps)
    differences = replay.differences(server.home)
    campaign.bar("files that the recording has otherwise than the disk", len(differences), 0)
    print(*differences[:5], sep="\n", end="", file=sys.stderr)


def report(campaign, proof, machines, steps):
    done = collections.Counter(step[0] for step in steps)
    quiet = done["begin sync"] + done["end sync"] + done["answer"]
    folded = sum(step[0] == "begin sync" and step[2] == ("data", "state.db") for step in steps)
    campaign.note("changes of files and names recorded", len(steps) - quiet)
    campaign.note("syncs recorded", done["end sync"])
    campaign.note("of them of the database, with its log folded in", folded)
    campaign.note("answers recorded", done["answer"])
    campaign.note("things promised", len(proof.stories.reached))
    campaign.note("machines without power", proof.states - machines.cut)
    campaign.note("recoveries without power", machines.cut)
    campaign.note("servers started in another boot", machines.recoveries)
    synced = sum(map(len, proof.lines.certain.values()))
    campaign.bar("log lines synced, at the least", -synced, -1)
    for figure, words in FIGURES.items():
        campaign.bar(words, len(proof.broken[figure]), 0)
        for state, what in list(proof.broken[figure].items())[:5]:
            print(f"  {figure}, {state}: {what}", file=sys.stderr)


def main():
    why = possible()
    if why is not None:
        sys.exit(f"c2 cannot run here: {why}")
    # Rounds of the load, machines, servers started on such machines, recoveries cut off, machines
    # of each of them.
    sizes = {"tiny": (6, 300, 1, 1, 30), "pr": (15, 1600, 4, 2, 200), "night": (30, 180_000, 60, 20, 1000)}
    with Campaign("c2", __doc__.splitlines()[0][4:], **sizes) as campaign:
        run(campaign)


main()
