"""The bars: what this server has to hold, judged from the rows of one run.

A bar is held, broken, or was not measured. Nothing here measures or rounds before it compares.
"""

import dataclasses

from contenders import Chain
from figures import milliseconds

HOME = "Lamplight (namespaces)"
MB = 1_000_000
LANGUAGES = ("rust", "python", "node")


@dataclasses.dataclass
class Bar:
    what: str
    value: str
    floor: str
    ratio: str
    bar: str
    held: bool | None


class Rows:
    """The rows of a run, looked up by what they say."""

    def __init__(self, rows):
        self.rows = rows

    def one(self, **like):
        """The figures of a row; none of what was not measured."""
        for row in self.rows:
            if all(row.get(name) == value for name, value in like.items()):
                return row
        return {}

    def value(self, field, **like):
        return self.one(**like).get(field)


def ratio(value, floor):
    return value / floor if value is not None and floor else None


def at_most(value, most):
    return None if value is None else value <= most


def times(value):
    return "–" if value is None else f"{value:.2f}"


def judge(rows):
    """Every bar, in the order of the calls' life."""
    rows = Rows(rows)
    return [
        *(bar for language in LANGUAGES for bar in warm(rows, language)),
        *(throughput(rows, language) for language in LANGUAGES),
        *(isolation(rows, language) for language in LANGUAGES), *cold(rows), *bursts(rows), *idle(rows), *rest(rows),
    ]  # fmt: skip


def warm(rows, language):
    like = {"kind": "warm", "language": language, "clients": 1}
    ours, floor = rows.one(**like, who=HOME), rows.value("p50", **like, who=Chain.name)
    p50, p99 = ours.get("p50"), ours.get("p99")
    share, tail = ratio(p50, floor), ratio(p99, p50)
    yield Bar(f"warm p50, one client, {language}", f"{milliseconds(p50)} ms", f"{milliseconds(floor)} ms",
              times(share), "3 × the bare chain", at_most(share, 3))  # fmt: skip
    yield Bar(f"warm p99, one client, {language}", f"{milliseconds(p99)} ms", f"{milliseconds(p50)} ms",
              times(tail), "6 × its p50", at_most(tail, 6))  # fmt: skip


def throughput(rows, language):
    like = {"kind": "warm", "language": language, "clients": 32}
    ours, floor = rows.value("rate", **like, who=HOME), rows.value("rate", **like, who=Chain.name)
    share = ratio(ours, floor)
    return Bar(f"calls a second, 32 clients, {language}", whole(ours), whole(floor), times(share),
               "0.45 × the bare chain", None if share is None else share >= 0.45)  # fmt: skip


def whole(value):
    return "–" if value is None else f"{value:,.0f}".replace(",", " ")


def isolation(rows, language):
    like = {"kind": "warm", "language": language, "clients": 1}
    ours, without = rows.value("p50", **like, who=HOME), rows.value("p50", **like, who="Lamplight (process)")
    share = ratio(ours, without)
    return Bar(f"isolation's share of a warm call, {language}", f"{milliseconds(ours)} ms",
               f"{milliseconds(without)} ms", times(share), "1.05 × without", at_most(share, 1.05))  # fmt: skip


def cold(rows):
    ready, fresh = "one after the other", "first after the server's start"
    for language, how, part, most in (
        ("rust", fresh, "p50", 5), ("python", ready, "p50", 5), ("python", ready, "p99", 20),
        ("python", "boto3 imported, snapshot", "p50", 8), ("node", ready, "p50", 6), ("node", fresh, "p50", 90),
    ):  # fmt: skip
        value = rows.value(part, kind="cold", language=language, who=HOME, how=how)
        floor = rows.value("p50", kind="cold", language=language, who="bare runtime", how="start")
        yield Bar(f"cold {part}, {language}, {how}", f"{milliseconds(value)} ms", f"{milliseconds(floor)} ms",
                  times(ratio(value, floor)), f"{most} ms", at_most(value, most / 1000))  # fmt: skip


def bursts(rows):
    for like, name, part, most in (
        ({"what": "one function", "count": 500}, "0 to 500 environments of one function", "all", 2),
        ({"what": "functions in python", "count": 1000}, "1 000 functions, first calls at once, p99", "p99", 5),
    ):
        row = rows.one(kind="burst", **like)
        value, held = row.get(part), None
        clean = row.get("wrong") == 0 and row.get("left") == 0
        whole_ = row.get("environments", like["count"]) == like["count"]
        if row:
            held = bool(clean and whole_ and at_most(value, most))
        beside = f"{row.get('wrong', '–')} wrong, {row.get('left', '–')} left"
        yield Bar(name, "–" if value is None else f"{value:.2f} s", beside, "", f"{most} s, none wrong, nothing left", held)


def idle(rows):
    """By what is less available; by what they are charged where others moved that by more than the bar."""
    for language, most in (("python", 2.5), ("node", 55), ("rust", 4)):
        row = rows.one(kind="idle", language=language)
        if not row:
            yield Bar(f"idle environment, {language}", "–", "", "", f"{most} MB", None)
            continue
        less = f"{row['available'] / MB:.1f} MB less available"
        charged = f"{row['charged'] / MB:.1f} MB charged"
        noisy = row["highest"] - row["lowest"] > most * MB
        value = row["charged" if noisy else "available"]
        shown, beside = (charged, f"{less}, but others moved it") if noisy else (less, charged)
        yield Bar(f"idle environment, {language}", shown, beside, "", f"{most} MB", at_most(value, most * MB))


def rest(rows):
    row = rows.one(kind="rest")
    resident, cpu, ready = row.get("rss"), row.get("cpu"), row.get("ready")
    yield Bar("server at rest, resident", "–" if not row else f"{resident / MB:.1f} MB", "", "", "40 MB",
              at_most(resident, 40 * MB))  # fmt: skip
    yield Bar("server at rest, of a processor", "–" if not row else f"{cpu:.2%}", "", "", "0.3 %",
              at_most(cpu, 0.003))  # fmt: skip
    yield Bar("server's start until it answers", f"{milliseconds(ready)} ms", "", "", "300 ms", at_most(ready, 0.3))
