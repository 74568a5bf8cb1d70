"""Several events at once: a process for each, forked before the function is loaded.

As on AWS: each process initialises by itself and has one event at a time; nothing is
shared but the file system. The first process only looks after the others. One that
dies with an event is reported with it, so that its caller does not wait for the
time-out, and replaced. One that dies without an event is not: what broke it would
break its successor as well. When none is left, the runtime ends.

Invariants: nothing of the function runs in the first process; a place of the shared
memory is written by its own process alone while that lives.
"""

import mmap
import os
import sys

from . import wire

# Whether a process has asked for an event yet, then the id of the event that it has.
PLACE = 256


class Mark:
    """What a process says of itself where the first one sees it."""

    def __init__(self, memory, number):
        self._memory, self._start = memory, number * PLACE
        self._put(b"")

    def ready(self):
        self._memory[self._start] = 1

    def busy(self, request_id):
        self._put(b"\1" + request_id.encode("latin-1")[: PLACE - 2])

    def idle(self):
        self._put(b"\1")

    def read(self):
        """Whether it was ready, and the id of its event."""
        place = self._memory[self._start : self._start + PLACE]
        return place[0] == 1, place[1:].split(b"\0")[0].decode("latin-1")

    def _put(self, content):
        self._memory[self._start : self._start + PLACE] = content.ljust(PLACE, b"\0")


def run(count, address, work):
    """Runs `work(mark)` in `count` processes until none of them is left."""
    memory = mmap.mmap(-1, count * PLACE)
    processes = {}

    def start(number):
        mark = Mark(memory, number)
        pid = os.fork()
        if pid == 0:
            work(mark)
            os._exit(0)
        processes[pid] = number, mark

    for number in range(count):
        start(number)
    status = 0
    while processes:
        pid, status = os.wait()
        if pid not in processes:
            continue
        number, mark = processes.pop(pid)
        ready, request_id = mark.read()
        if ready and request_id:
            _report(address, request_id, status)
            start(number)
    sys.exit(os.WEXITSTATUS(status) if os.WIFEXITED(status) else 1)


def _report(address, request_id, status):
    from . import codec

    how = "exit status %d" % os.WEXITSTATUS(status) if os.WIFEXITED(status) else "signal %d" % os.WTERMSIG(status)
    message = "RequestId: %s Error: Runtime exited with error: %s" % (request_id, how)
    body = codec.to_json({"errorType": "Runtime.ExitError", "errorMessage": message}).encode()
    about = {"Content-Type": "application/json", "Lambda-Runtime-Function-Error-Type": "Runtime.ExitError"}
    try:
        wire.RuntimeApi(address).post("/invocation/%s/error" % request_id, about, body)
    except OSError:
        # The environment is going away, and the event with it.
        pass
