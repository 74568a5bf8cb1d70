"""Refusals recorded from AWS (tests/data/recorded-messages.tsv), to compare answers with.

An answer is one of the recorded ones when status, code, text, and the members `Type`, `Reason` and
the message's own name are the same to the letter. What the recorder replaced by <placeholders> may
be any of the names that the scenario knows; the same placeholder is the same name. AWS gives the
values of an enum in no particular order, and has added to two patterns and the runtimes since.
"""

import csv
import dataclasses
import pathlib
import re

from . import aws, place

TABLE = place.ROOT / "tests" / "data" / "recorded-messages.tsv"
CUT = 600
ENUM = "enum value set: ["
LAYER = r"(arn:(aws[a-zA-Z-]*)?:lambda:(eusc-)?[a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\d{1}:\d{12}:layer:[a-zA-Z0-9-_]+:[0-9]+)|(arn:[a-zA-Z0-9-]+:lambda:::awslayer:[a-zA-Z0-9-_]+)"
UUID = "-".join(f"[0-9a-fA-F]{{{length}}}" for length in (8, 4, 4, 4, 12))
KINDS = r"code-signing-config:csc-[a-z0-9]{17}|event-source-mapping:" + UUID
# What the service models say today in place of what was recorded.
MOVED_ON = {
    f"{LAYER}": f"({LAYER})",
    f"layer:([a-zA-Z0-9-_]+)|{KINDS}|capacity-provider:[a-zA-Z0-9-_]+": (
        f"{KINDS}|(capacity-provider|network-connector):[a-zA-Z0-9-_]{{1,64}}"
    ),
}
NEW_RUNTIMES = set(
    "custom java11.al2023 java17.al2023 java8.al2023 nodejs26.x python3.15 ruby4.0".split()
)


@dataclasses.dataclass(frozen=True)
class Row:
    line: int
    http: str
    code: str
    message: str
    type: str
    reason: str
    message_member: str
    recorded_in: str
    standing: str

    @property
    def vague(self):
        return self.message.count("<")

    def says(self, text, names):
        """Whether `text` is this message, with `names` for its placeholders."""
        if not self.message:
            # The recorder kept no text.
            return True
        cut = len(self.message) == CUT
        recorded, wanted = split(moved_on(self.message))
        given, found = split(text)
        if len(found) < len(wanted) or (len(found) > len(wanted) and not cut):
            return False
        for values, now in zip(wanted, found, strict=False):
            if not values <= now or (not cut and now - values - NEW_RUNTIMES):
                return False
        pattern = filled(recorded, names)
        return bool(re.match(pattern, given) if cut else re.fullmatch(pattern, given))


def moved_on(text):
    for old, new in MOVED_ON.items():
        text = text.replace(old, new)
    return text


def split(text):
    """The text without the values of its enums, and those as sets."""
    first, *rest = text.split(ENUM)
    sets = []
    for piece in rest:
        values, end, after = piece.partition("]")
        # Where the text is cut within an enum, its last value may be cut too.
        sets.append(set(values.split(", ")[: None if end else -1]))
        first += ENUM + after
    return first, sets


def filled(recorded, names):
    known = {"<partition>": "aws", "<region>": "us-east-1"}
    any_name = "|".join(re.escape(name) for name in sorted(names, key=len, reverse=True)) or "(?!)"
    seen = {}
    pattern = ""
    for piece in re.split(r"(<[a-z_:A-Z0-9-]+>|111111111111)", recorded):
        if piece == "111111111111":
            pattern += aws.ACCOUNT
        elif piece in known:
            pattern += known[piece]
        elif piece in seen:
            pattern += f"(?P={seen[piece]})"
        elif re.fullmatch(r"<[a-z_:A-Z0-9-]+>", piece):
            seen[piece] = f"name{len(seen)}"
            pattern += f"(?P<{seen[piece]}>{any_name})"
        else:
            pattern += re.escape(piece)
    return pattern


def table():
    with open(TABLE, encoding="utf-8", newline="") as file:
        numbered = [(number, line) for number, line in enumerate(file, 1) if line[0] != "#"]
    (_, header), *rows = numbered
    fields = header.rstrip("\n").split("\t")
    read = csv.reader((line for _, line in rows), delimiter="\t", quoting=csv.QUOTE_NONE)
    return [
        Row(line=number, **dict(zip(fields, values, strict=True)))
        for (number, _), values in zip(rows, read, strict=True)
    ]


def find(rows, answer, names):
    """The row that an answer is, and what is wrong with it: one of both is None."""
    same = [row for row in rows if (row.http, row.code) == (str(answer.status), answer.error)]
    body = answer.json()
    said = [row for row in same if row.says(answer.message, names)]
    if not said:
        return None, f"no recorded refusal: {answer.status} {answer.error}: {answer.message[:700]}"
    row = min(said, key=lambda row: (not row.message, row.vague))
    if row.message_member:
        wanted = {row.message_member, *(["Type"] if row.type else []), *(["Reason"] if row.reason else [])}
        if set(body) - {"retryAfterSeconds"} != wanted or body.get("Type", "") != row.type:
            return None, f"line {row.line} has the members {wanted} with Type {row.type!r}, not {body}"
        if body.get("Reason", "") != row.reason:
            return None, f"line {row.line} has the Reason {row.reason!r}, not {body}"
    return row, None
