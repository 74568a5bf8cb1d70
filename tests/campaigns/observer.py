"""Counts what a server has on the machine, from outside: it asks the kernel, not the server."""

import os
import pathlib

from harness import leftovers


def _status(pid, field):
    for line in leftovers._read(f"/proc/{pid}/status").splitlines():
        if line.startswith(field + ":"):
            return line.split()[1]
    return None


def rss(pid):
    """Bytes in memory that are the process's own: pages of its binary come and go."""
    return int(_status(pid, "RssAnon") or 0) * 1024


def peak(pid):
    return int(_status(pid, "VmHWM") or 0) * 1024


def _links(pid):
    found = []
    for fd in _names(f"/proc/{pid}/fd"):
        try:
            found.append(os.readlink(f"/proc/{pid}/fd/{fd}"))
        except OSError:
            pass
    return found


def _names(path):
    try:
        return os.listdir(path)
    except OSError:
        return []


def namespaces(pids):
    """Network namespaces that these processes live in, beside our own."""
    found = set()
    for pid in pids:
        try:
            found.add(os.readlink(f"/proc/{pid}/ns/net"))
        except OSError:
            pass
    return len(found - {os.readlink("/proc/self/ns/net")})


def counts(server):
    """{what: how many}; the same before and after means that nothing has leaked."""
    below = leftovers.descendants(server.pid)
    zombies = sum(leftovers.state(pid) == "Z" for pid in below)
    links = _links(server.pid)
    named = leftovers.named_after(leftovers.instance_of(server.data_dir))
    files = sum(
        len(names) + len(directories)
        for part in ("run", "cache/code", "blobs")
        for _, directories, names in os.walk(server.data_dir / part)
    )
    return {
        "descriptors": len(links),
        "threads": int(_status(server.pid, "Threads") or 0),
        "processes": len(below) - zombies,
        "zombies": zombies,
        "mounts": len(leftovers._read(f"/proc/{server.pid}/mountinfo").splitlines()),
        "network namespaces": namespaces(below) + sum(link.startswith("net:") for link in links),
        "cgroups": sum(name.startswith("cgroup") for name in named),
        "links": sum(name.startswith("link") for name in named),
        "files": files,
    }


def digest(path):
    """What would change if somebody wrote to a file of the host."""
    import hashlib

    return hashlib.sha256(pathlib.Path(path).read_bytes()).hexdigest()
