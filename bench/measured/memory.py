"""Memory of idle environments, and the server at rest.

What is less available on the machine is what counts. Others on it move that too: beside it stands what
the environments are charged, their processes' share of memory and what the kernel keeps for them.
"""

import os
import pathlib
import time

import load
from contenders import LANGUAGES, Lamplight
from figures import percentile
from harness.leftovers import descendants, named
from measured.burst import deployed, first_calls

TICK, PAGE = os.sysconf("SC_CLK_TCK"), os.sysconf("SC_PAGE_SIZE")
GROUPS = pathlib.Path("/sys/fs/cgroup")
# Room for what is measured and for whoever else is on the machine.
NEEDED = {"rust": 2 << 30, "python": 3 << 30, "node": 9 << 30}


def idle_environments(sizes):
    """Of each language: `sizes.idle` functions, called once each; what is less available then."""
    rows = []
    for language in LANGUAGES:
        if available() < NEEDED[language]:
            print(f"idle {language}: not measured, {available() >> 20} MiB are available")
            continue
        samples, shares, wrong, alive = [], [], 0, sizes.idle
        with Lamplight() as lamplight:
            for _ in range(sizes.idle_rounds):
                names = deployed(lamplight, language, sizes.idle)
                before, others = steady(), descendants(lamplight.server.pid)
                wrong += first_calls(lamplight, names).wrong
                lamplight.settle()
                full = steady()
                new = descendants(lamplight.server.pid).keys() - others.keys()
                shares.append(proportional(new) + kernel(new))
                alive = min(alive, len(new & named(lamplight.server.pid, "jail-init").keys()))
                for name in names:
                    lamplight.client.delete_function(FunctionName=name)
                lamplight.settle()
                samples += [(before - full) / sizes.idle, (steady() - full) / sizes.idle]
        if alive < sizes.idle:
            print(f"idle {language}: not measured, {alive} of {sizes.idle} environments were there")
            continue
        rows.append({
            "kind": "idle", "language": language, "n": sizes.idle, "wrong": wrong,
            "available": percentile(samples, 0.5), "lowest": min(samples), "highest": max(samples),
            "charged": percentile(shares, 0.5) / sizes.idle,
        })  # fmt: skip
        print(f"idle: {language}", flush=True)
    return rows


def available():
    lines = pathlib.Path("/proc/meminfo").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))


def steady(seconds=1.0):
    """The middle of what is available for a moment: others come and go."""
    end, seen = time.monotonic() + seconds, []
    while time.monotonic() < end:
        seen.append(available())
        time.sleep(0.02)
    return percentile(seen, 0.5)


def proportional(pids):
    """The processes' share of memory, pages of several counted in part for each."""
    total = 0
    for pid in pids:
        try:
            lines = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        except OSError:
            continue
        total += next((int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:")), 0)
    return total


def kernel(pids):
    """What the kernel itself keeps for the control groups of processes."""
    groups = set()
    for pid in pids:
        try:
            lines = pathlib.Path(f"/proc/{pid}/cgroup").read_text().splitlines()
        except OSError:
            continue
        for _, controllers, path in (line.split(":", 2) for line in lines):
            if controllers in ("memory", ""):
                groups.add(GROUPS / controllers / path.lstrip("/"))
    total = 0
    for group in groups:
        for name in ("memory.kmem.usage_in_bytes", "memory.stat"):
            try:
                words = (group / name).read_text().split()
            except OSError:
                continue
            # The first version has the number alone, the second among others.
            total += int(words[0]) if len(words) == 1 else int(words[words.index("kernel") + 1])
            break
    return total


def at_rest(sizes):
    """A server that nobody calls: how soon it answers, how large it is, how much it computes."""
    ready, resident, shares, below = [], [], [], []
    for _ in range(sizes.restarts):
        lamplight = Lamplight()
        with lamplight:
            server = lamplight.server
            server.stop()
            begin = time.perf_counter()
            server.launch()
            ready.append(answering(server) - begin)
            lamplight.settle()
            before, begin = ticks(server.pid), time.perf_counter()
            time.sleep(sizes.rest)
            shares.append((ticks(server.pid) - before) / TICK / (time.perf_counter() - begin))
            resident.append(int(pathlib.Path(f"/proc/{server.pid}/statm").read_text().split()[1]) * PAGE)
            below.append(proportional(descendants(server.pid)))
    return [{
        "kind": "rest", "n": sizes.restarts, "ready": percentile(ready, 0.5), "rss": percentile(resident, 0.5),
        "cpu": percentile(shares, 0.5), "children": percentile(below, 0.5),
    }]  # fmt: skip


def answering(server):
    """The moment of a starting server's first answer. The file comes when it listens."""
    endpoint = server.data_dir / "endpoint"
    while not endpoint.exists() or not endpoint.read_text().split():
        assert server.process.poll() is None, server.log()
        time.sleep(0.001)
    server.endpoint = endpoint.read_text().split()[0]
    connection = load.Connection(server.port)
    connection.timed(f"GET / HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\n\r\n".encode())
    now = time.perf_counter()
    connection.close()
    return now


def ticks(pid):
    """Of the processor, by the server and all below it."""
    total = 0
    for one in [pid, *descendants(pid)]:
        try:
            fields = pathlib.Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        total += int(fields[11]) + int(fields[12])
    return total
