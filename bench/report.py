"""The rows of `bench/run` as a section of docs/performance.md, with its plots."""

import bars
import page
import plots
from bars import HOME, LANGUAGES, Rows, whole
from contenders import Chain
from figures import milliseconds as ms

ECHO = "bare hyper echo"
MB, KIB = 1_000_000, 1024
NAMES = {"rust": "Rust", "python": "Python", "node": "Node", "-": ""}


def section(rows, given):
    parts = [
        "## Calls",
        f"`{given['command']}`. {page.said(given)} Isolation, signatures, policy, counting and logs are on; "
        "the function answers with its event. Floors and peers are from the same run, and take turns with "
        "Lamplight. Times are in milliseconds. Compare ratios, not milliseconds: those change with the "
        "machine and its load.",
        bar_table(bars.judge(rows)),
        "A bar that is not held is one to work on, on this machine, at this load; `–` was not measured.",
        *(f"![{alt}](performance/{name}.svg)" for name, alt in (
            ("warm", "Warm calls"), ("throughput", "Calls a second"), ("cold", "Cold calls"), ("payload", "Payloads"),
        )),
        "### Warm calls", warm(rows),
        "### Cold calls", cold(rows),
        "### Bursts", bursts(rows),
        "### Memory", memory(rows),
        "### Payloads, one client", payloads(rows),
    ]  # fmt: skip
    return "\n\n".join(part for part in parts if part)


def bar_table(judged):
    words = {True: "held", False: "**broken**", None: "not measured"}
    return page.table([("bar", "measured", "beside it", "ratio", "at most, or at least", ""), *(
        (one.what, one.value, one.floor or "", one.ratio, one.bar, words[one.held]) for one in judged
    )])  # fmt: skip


def sizes(row):
    return row["n"], row["wrong"] or ""


def warm(rows):
    found = Rows(rows)
    lines = [("function", "clients", "server", "n", "wrong", "p10", "p50", "p99", "calls/s", "p50 to the chain's")]
    for row in (row for row in rows if row["kind"] in ("warm", "boto3")):
        like = {name: row[name] for name in ("kind", "language", "clients")}
        floor = found.value("p50", **like, who=Chain.name)
        who = row["who"] + (", called by boto3" if row["kind"] == "boto3" else "")
        lines.append((NAMES[row["language"]], row["clients"], who, *sizes(row), ms(row.get("p10")), ms(row["p50"]), ms(row["p99"]),
                      whole(row["rate"]) if row["rate"] else "", bars.times(bars.ratio(row["p50"], floor))))  # fmt: skip
    return page.table(lines)


def cold(rows):
    found = Rows(rows)
    lines = [("function", "server", "how", "n", "wrong", "p10", "p50", "p99", "p50 to the bare runtime's")]
    for row in (row for row in rows if row["kind"] == "cold"):
        floor = found.value("p50", kind="cold", language=row["language"], who="bare runtime", how="start")
        share = "" if row["how"] == "one event" else bars.times(bars.ratio(row["p50"], floor))
        lines.append((NAMES[row["language"]], row["who"], row["how"], *sizes(row), ms(row.get("p10")), ms(row["p50"]),
                      ms(row["p99"]), share))  # fmt: skip
    return page.table(lines)


def bursts(rows):
    lines = [("all at the same moment", "right", "environments", "p50", "p99", "all", "left on the machine")]
    for row in (row for row in rows if row["kind"] == "burst"):
        lines.append((f"{row['count']}, {row['what']}", f"{row['n']}", row.get("environments", row["n"]),
                      ms(row["p50"]), ms(row["p99"]), ms(row["all"]),
                      "nothing" if row["left"] == 0 else row["left"]))  # fmt: skip
    note = (
        "Of one function, times are until the handler began, which then waited for all others, so that no "
        "environment took two calls; of many, until the answer was there. Left are processes, control "
        "groups, mounts and network links after the server's end."
    )
    return page.table(lines) + "\n\n" + note


def memory(rows):
    lines = [("idle environments", "how many", "MB each, less available", "lowest to highest", "MB each, charged")]
    for row in (row for row in rows if row["kind"] == "idle"):
        spread = f"{row['lowest'] / MB:.1f} to {row['highest'] / MB:.1f}"
        lines.append((NAMES[row["language"]], row["n"], f"{row['available'] / MB:.1f}", spread, f"{row['charged'] / MB:.1f}"))
    parts = []
    if len(lines) > 1:
        parts += [page.table(lines), "Less available on the machine, which others on it move too; charged are the "
                  "processes' share of memory and what the kernel keeps for their control groups."]  # fmt: skip
    for row in (row for row in rows if row["kind"] == "rest"):
        parts.append(
            f"A server that nobody calls answers {ms(row['ready'])} ms after its start, has {row['rss'] / MB:.1f} MB "
            f"resident, takes {row['cpu']:.2%} of one processor, and what it keeps ready beside itself has "
            f"{row['children'] / MB:.1f} MB ({row['n']} starts)."
        )
    return "\n\n".join(parts)


def payloads(rows):
    found = Rows(rows)
    lines = [("function", "size", "server", "n", "wrong", "p50", "p99", "p50 to the chain's")]
    for row in (row for row in rows if row["kind"] == "payload"):
        floor = found.value("p50", kind="payload", language=row["language"], bytes=row["bytes"], who=Chain.name)
        lines.append((NAMES[row["language"]], size(row["bytes"]), row["who"], *sizes(row), ms(row["p50"]),
                      ms(row["p99"]), bars.times(bars.ratio(row["p50"], floor))))  # fmt: skip
    return page.table(lines)


def size(count):
    return f"{count / KIB / KIB:.0f} MiB" if count > KIB * KIB // 2 else f"{count // KIB} KiB"


def drawings(rows):
    """{name: SVG} of what there are figures for."""
    found = Rows(rows)

    def by_language(kind, field, factor, **like):
        groups = []
        for language in LANGUAGES:
            who = dict.fromkeys(row["who"] for row in rows if row["kind"] == kind)
            values = [(one, found.value(field, kind=kind, language=language, who=one, **like)) for one in who]
            groups.append((NAMES[language], [(one, value * factor) for one, value in values if value]))
        return groups

    starts = []
    for language in LANGUAGES:
        of = [row for row in rows if row["kind"] == "cold" and row["language"] == language and row["how"] != "one event"]
        shown = [(f"Lamplight, {row['how']}" if row["who"] == HOME else row["who"], row["p50"]) for row in of]
        starts.append((NAMES[language], [(label, value * 1000) for label, value in shown if value]))
    payload = {}
    for row in (row for row in rows if row["kind"] == "payload" and row["p50"]):
        label = f"{NAMES[row['language']]}, {row['who']}"
        payload.setdefault(label, []).append((round(row["bytes"] / KIB), row["p50"] * 1000))
    made = {
        "warm": plots.bars("Warm calls, one client: p50 in ms", by_language("warm", "p50", 1000, clients=1)),
        "throughput": plots.bars("Calls a second, 32 clients", by_language("warm", "rate", 1, clients=32)),
        "cold": plots.bars("Cold calls: p50 in ms", starts),
        "payload": plots.lines("Calls by payload: p50 in ms", "KiB of event, and of answer", list(payload.items())),
    }
    return {name: drawing for name, drawing in made.items() if drawing}
