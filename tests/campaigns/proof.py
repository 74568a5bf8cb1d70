"""Follows the recording of a server, and judges machines that lost their power on the way."""

import collections
import contextlib
import hashlib
import json
import pathlib
import re
import shutil
import sqlite3
import tempfile

from disk import Crash

LOGS = ("data", "logs", "000000000000", "us-east-1")
LINE = re.compile(rb"lines-\d:\d+:")


class Proof:
    def __init__(self, stories, credentials):
        self.stories, self.credentials = stories, credentials
        self.states = 0
        # Figure to {state: what breaks it there}.
        self.broken = collections.defaultdict(dict)
        self.lines = Lines()
        self._digests = {}
        self._place = pathlib.Path(tempfile.mkdtemp(prefix="lamplight-c2-", dir="/dev/shm"))

    def close(self):
        shutil.rmtree(self._place, ignore_errors=True)

    def follow(self, steps, replay, points):
        """Steps of the load. Yields each machine of `points`, {step: [(kind, seed)]}, and its step."""
        for number, step in enumerate(steps):
            self.lines.take(step)
            if step[0] == "answer":
                self.stories.answer(step[1])
            yield from self._judged(step, replay, number, points.get(number, []))

    def recover(self, steps, replay, points):
        """Steps of a server that finds what a machine has left: nothing is promised but before."""
        for number, step in enumerate(steps):
            for _ in self._judged(step, replay, number, points.get(number, [])):
                pass

    def _judged(self, step, replay, number, points):
        replay.take(step)
        for kind, seed in points:
            crash = Crash(replay.disk, kind, seed)
            self.judge(crash, f"after step {number} ({step[0]}), {kind}, seed {seed}")
            yield number, crash

    def judge(self, crash, where):
        self.states += 1
        for figure, what in self._wrong(crash):
            self.broken[figure].setdefault(where, what)

    def _wrong(self, crash):
        if self.stories.reached and crash.content(("data", "credentials")) != self.credentials:
            yield "lost", "the credentials"
        for thing, _ in self.stories.promised("group"):
            settings = crash.content((*LOGS, thing[1], "group.json"))
            if settings is None or json.loads(settings)["name"] != thing[1]:
                yield "lost", f"{thing}"
        for path, lines in self.lines.certain.items():
            there = set(LINE.findall(crash.content(path) or b""))
            yield from (("lost", f"a line of {path[-2]}: {line}") for line in lines - there)
        try:
            found = self._read(crash)
        except sqlite3.Error as error:
            yield "unreadable", f"{error}"
            return
        for kind in ("event", "message", "function"):
            yield from (("lost", what) for what in self.stories.wrong(kind, found))
        for thing, state in found.items():
            if thing[0] == "function":
                digest = state[1]
                if self._digest(crash.content(("data", "blobs", digest[:2], digest))) != digest:
                    yield "blobs", f"the code of {thing[1]}"

    def _read(self, crash):
        """The things that the store's files have, by SQLite's account: {thing: state}."""
        for name in ("state.db", "state.db-wal", "state.db-journal"):
            (self._place / name).unlink(missing_ok=True)
            content = crash.content(("data", name))
            if content is not None:
                (self._place / name).write_bytes(content)
        with contextlib.closing(sqlite3.connect(self._place / "state.db")) as store:
            # There is nothing before the first migration.
            if store.execute("PRAGMA user_version").fetchone() == (0,):
                return {}
            [verdict] = store.execute("PRAGMA integrity_check(1)").fetchone()
            if verdict != "ok":
                raise sqlite3.DatabaseError(verdict)
            messages = store.execute(
                "SELECT queue.name, message.name FROM message JOIN queue ON queue.id = message.queue"
            ).fetchall()
            functions = store.execute(
                "SELECT key, body FROM meta WHERE key LIKE 'fn' || char(31) || '%'"
            ).fetchall()
        times = collections.Counter()
        for queue, name in messages:
            kind = queue.partition("\x1f")[0]
            times["message" if kind == "sqs" else kind.removesuffix("-ended"), name] += 1
        found = {thing: "there" if n == 1 else f"{n} times" for thing, n in times.items()}
        for key, body in functions:
            record, name = json.loads(body), key.split("\x1f")[-1]
            if name.startswith("said-"):
                found["function", name] = (record["settings"]["description"], record["code"]["digest"])
        return found

    def _digest(self, content):
        if content not in self._digests:
            self._digests[content] = content and hashlib.sha256(content).hexdigest()
        return self._digests[content]


class Lines:
    """Log lines that are on the disk for certain: their segment was synced, then its directory."""

    def __init__(self):
        self.certain = {}
        self._written, self._synced, self._syncs = collections.defaultdict(set), {}, {}

    def take(self, step):
        what, *rest = step
        if what == "write" and rest[0][-1].endswith(".seg"):
            self._written[rest[0]] |= set(LINE.findall(rest[2]))
        elif what == "begin sync":
            who, path = rest
            self._syncs[who] = (path, set(self._written.get(path, ())))
        elif what == "end sync" and rest[0] in self._syncs:
            path, lines = self._syncs.pop(rest[0])
            if path in self._written:
                self._synced[path] = lines
            for segment, lines in self._synced.items():
                if segment[:-1] == path:
                    self.certain[segment] = lines
