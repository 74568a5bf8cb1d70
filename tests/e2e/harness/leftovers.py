"""What a server leaves on the machine: processes, cgroups, mounts, network links.

Identifies a server's things by its own process tree and data directory, so that servers of other
tests, or of other people, are not blamed on it.
"""

import hashlib
import os
import pathlib
import time

CGROUPS = pathlib.Path("/sys/fs/cgroup")


def _read(path):
    try:
        return pathlib.Path(path).read_text(errors="replace")
    except OSError:
        return ""


def _stat(pid):
    """(parent, start time, state) of a process; None when it is gone."""
    text = _read(f"/proc/{pid}/stat")
    fields = text.rpartition(")")[2].split()
    return (int(fields[1]), fields[19], fields[0]) if len(fields) > 19 else None


def processes():
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def command_line(pid):
    return _read(f"/proc/{pid}/cmdline").replace("\0", " ")


def descendants(pid):
    """{pid: start time} of all processes below `pid`, without itself."""
    stats = {other: stat for other in processes() if (stat := _stat(other))}
    found, level = {}, {pid}
    while level:
        level = {other for other, stat in stats.items() if stat[0] in level and other not in found}
        found.update({other: stats[other][1] for other in level})
    return found


def named(pid, *names):
    """Those of them that have one of these names: `jail-init` or `jail-keeper` in each environment,
    `jail-blank` in each sandbox that is kept for one to come, and the `jail-nursery`."""
    below = descendants(pid)
    return {other: below[other] for other in below if _read(f"/proc/{other}/comm").strip() in names}


def state(pid):
    """The letter of a process's state: R, S, T …; None when it is gone."""
    stat = _stat(pid)
    return stat and stat[2]


def with_variable(value):
    """Processes that have `value` as the value of an environment variable."""
    ending = f"={value}\0"
    return [pid for pid in processes() if ending in _read(f"/proc/{pid}/environ")]


def running(pid, start):
    stat = _stat(pid)
    return stat is not None and stat[1] == start


def _cgroups_of(pid):
    """Directories of the cgroups of a process."""
    found = set()
    for line in _read(f"/proc/{pid}/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers.startswith("name="):
            controllers = controllers.removeprefix("name=")
        roots = [CGROUPS / controllers] if controllers else [CGROUPS / "unified", CGROUPS]
        found.update(root / path.lstrip("/") for root in roots if (root / path.lstrip("/")).is_dir())
    return found


def instance_of(data_dir):
    """What the server of a data directory names its cgroups and links after."""
    return hashlib.sha256(os.path.realpath(data_dir).encode()).hexdigest()[:8]


def named_after(instance):
    """Cgroups and network links of an instance."""
    found = []
    for directory, names, _ in os.walk(CGROUPS):
        found += [f"cgroup {directory}/{name}" for name in names if instance in name]
    found += [f"link {name}" for name in os.listdir("/sys/class/net") if instance in name]
    return found


class Footprint:
    """What a running server has on the machine, as of now; to be looked for after its end."""

    def __init__(self, pid, data_dir):
        self.data_dir = str(data_dir)
        self.successor = False
        self.processes = descendants(pid)
        own = _cgroups_of(pid)
        below = set().union(*map(_cgroups_of, self.processes)) if self.processes else set()
        ours = _cgroups_of(os.getpid())
        # A successor makes the parents again: what counts is the groups of single sandboxes.
        parents = {f"lamplight-{instance_of(data_dir)}", "lamplight-server"}
        found = {path for path in below | own if "lamplight" in str(path)} - ours
        self.cgroups = {path for path in found if path.name not in parents}

    def before_restart(self):
        """For a server that is killed and started again: its successor has the same names."""
        self.successor = True
        return self

    def left(self):
        """A line for everything that is still there."""
        lines = []
        for pid, start in self.processes.items():
            if running(pid, start):
                lines.append(f"process {pid} ({_stat(pid)}): {command_line(pid)}")
        lines += [f"cgroup {path}" for path in sorted(self.cgroups) if path.is_dir()]
        if self.successor:
            return lines
        lines += named_after(instance_of(self.data_dir))
        for pid in processes():
            if self.data_dir in command_line(pid) and pid != os.getpid():
                lines.append(f"process {pid} names the data directory: {command_line(pid)}")
        mounts = _read("/proc/self/mountinfo").splitlines()
        lines += [f"mount {line}" for line in mounts if self.data_dir in line]
        return lines


def disk_use(directory):
    """Bytes of the files below a directory. What goes while it is looked at counts for nothing."""
    used = 0
    for place, _, names in os.walk(directory):
        for name in names:
            try:
                used += os.lstat(os.path.join(place, name)).st_size
            except FileNotFoundError:
                pass
    return used


def wait_until(condition, what, seconds=20):
    """Polls until `condition()` is true and returns its value; fails saying what it waited for."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"waited {seconds} s for {what() if callable(what) else what}")
        time.sleep(0.02)


def nothing_left(footprint, seconds=10):
    wait_until(
        lambda: not footprint.left(),
        lambda: "nothing to be left, but there is:\n" + "\n".join(footprint.left()),
        seconds,
    )
