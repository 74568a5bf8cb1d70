"""Keeps account of events from outside of the server.

What was promised is written down by the client, what ran by the function, in a file of the host.
What has ended is read from the store's own file, so nothing rests on what the server says of
itself.
"""

import collections
import contextlib
import http.client
import json
import os
import pathlib
import shutil
import sqlite3
import tempfile
import threading

# Runs without isolation, so that it can write to a file of the host. A line is one write: it is
# there whole or not at all, whoever is killed. It says which event began, and when.
WRITES = """
import os, time

def handler(event, context):
    ledger = os.open(event["ledger"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(ledger, f"{context.aws_request_id} {time.time()}\\n".encode())
    os.close(ledger)
    time.sleep(event.get("sleep", 0))
    if event.get("fail"):
        raise RuntimeError("no luck")
"""

QUEUED = "(SELECT id FROM queue WHERE name LIKE 'event' || char(31) || '%')"
ENDED = "(SELECT id FROM queue WHERE name = 'event-ended')"


class Ledger:
    def __init__(self, server):
        self.server = server
        self.path = server.home / "starts"
        self.promised = set()
        self.refused = collections.Counter()
        self.cut_off = 0
        self._lock = threading.Lock()

    def sender(self):
        return Sender(self)

    def begun(self):
        """[(request id, when)] of every start of a function, in order."""
        lines = self.path.read_text().splitlines() if self.path.exists() else []
        starts = (line.split() for line in lines)
        return [(request_id, float(when)) for request_id, when in starts]

    def starts(self):
        return collections.Counter(request_id for request_id, _ in self.begun())

    def _promise(self, request_id):
        with self._lock:
            self.promised.add(request_id)

    def _failed(self, status=None):
        with self._lock:
            if status is None:
                self.cut_off += 1
            else:
                self.refused[status] += 1

    @contextlib.contextmanager
    def _store(self):
        """The store's files under other names: to look at them changes nothing. Of the database,
        which grows with the campaign, no copy is made where that can be; its log is short."""
        with tempfile.TemporaryDirectory() as beside:
            beside = pathlib.Path(beside)
            database = self.server.data_dir / "state.db"
            try:
                os.link(database, beside / "state.db")
            except OSError:  # Another file system.
                shutil.copy(database, beside)
            if (log := self.server.data_dir / "state.db-wal").exists():
                shutil.copy(log, beside)
            store = sqlite3.connect(f"file:{beside}/state.db?mode=ro", uri=True)
            with contextlib.closing(store):
                yield store

    def leased(self):
        """Leases of events, while the server is dead."""
        with self._store() as store:
            [count] = store.execute(
                f"SELECT count(*) FROM message WHERE leased = 1 AND queue IN {QUEUED}"
            ).fetchone()
        return count

    def queued(self):
        """Events that have not ended, while the server runs."""
        store = sqlite3.connect(f"file:{self.server.data_dir}/state.db?mode=ro", uri=True, timeout=10)
        with contextlib.closing(store):
            [count] = store.execute(
                f"SELECT count(*) FROM message WHERE queue IN {QUEUED}"
            ).fetchone()
        return count

    def ends(self):
        """{request id: [terminal record]}, when the server has stopped."""
        found = collections.defaultdict(list)
        with self._store() as store:
            for name, state in store.execute(
                f"SELECT name, state FROM message WHERE queue IN {ENDED}"
            ):
                found[name].append(json.loads(state))
        return found

    def settle(self, campaign, leases):
        """Holds what was promised against what has come of it."""
        ends, starts = self.ends(), self.starts()
        left = collections.Counter()
        for request_id in self.promised:
            left[len(ends.get(request_id, []))] += 1
        unheard = [
            request_id for request_id in self.promised
            if not starts[request_id] and all(end["attempts"] for end in ends.get(request_id, []))
        ]  # fmt: skip
        again = sum(
            max(0, count - sum(end["attempts"] for end in ends.get(request_id, [])))
            for request_id, count in starts.items()
        )
        campaign.note("events promised (202)", len(self.promised))
        campaign.note("sendings cut off by a kill", self.cut_off)
        campaign.note("starts of functions", sum(starts.values()))
        for end, count in sorted(collections.Counter(
            record["end"] for records in ends.values() for record in records).items()):  # fmt: skip
            campaign.note(f"ended as {end}", count)
        campaign.bar("lost: promised, never ran, and nothing says why", len(unheard), 0)
        campaign.bar("promised without a terminal record", left[0], 0)
        campaign.bar("promised with several terminal records",
                     sum(n for records, n in left.items() if records > 1), 0)  # fmt: skip
        orphans = sum(request_id not in ends for request_id in starts)
        campaign.bar("started without a terminal record", orphans, 0)
        campaign.note("leases open at the kills", leases)
        campaign.bar("starts more than attempts on record", again, leases)


class Sender:
    """One connection that sends events, as fast as they are answered."""

    def __init__(self, ledger):
        self.ledger = ledger
        self.connection, self.port = None, None
        # Of the last event that was taken.
        self.request_id = None

    def send(self, name, **event):
        """The status; None when the connection broke."""
        server = self.ledger.server
        body = json.dumps({"ledger": str(self.ledger.path), **event})
        try:
            if self.connection is None or self.port != server.port:
                self.close()
                self.port = server.port
                self.connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
            self.connection.request(
                "POST", f"/2015-03-31/functions/{name}/invocations", body,
                {"X-Amz-Invocation-Type": "Event"},
            )  # fmt: skip
            answer = self.connection.getresponse()
            answer.read()
        except (OSError, http.client.HTTPException):
            self.close()
            self.ledger._failed()
            return None
        if answer.status == 202:
            self.request_id = answer.headers["x-amzn-requestid"]
            self.ledger._promise(self.request_id)
        else:
            self.ledger._failed(answer.status)
        return answer.status

    def close(self):
        if self.connection is not None:
            self.connection.close()
        self.connection = None
