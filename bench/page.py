"""docs/performance.md: each command here writes the section that is its own, from its own results.

A section is what is between two comments with its name. All else on the page is written by people,
and stays.
"""

import json
import os
import pathlib
import subprocess

from figures import load_average, machine
from harness import place

DOCS = place.ROOT / "docs"


def commit():
    """Of what is measured: of this checkout, unless the binary was brought from elsewhere."""
    if os.environ.get("LAMPLIGHT_BIN"):
        return os.environ.get("LAMPLIGHT_BIN_COMMIT", "unknown, of a binary that was brought along")
    done = subprocess.run(
        ["git", "describe", "--always", "--dirty", "--exclude", "*"], cwd=place.ROOT,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    return done.stdout.strip() or "unknown"


def circumstances(load_before):
    return {"machine": machine(), "load before": load_before, "load after": load_average(), "commit": commit()}


def said(given):
    """The sentences on what a result was measured with."""
    words = (f"On {given['machine']}, commit {given['commit']}; load average {given['load before']} before "
             f"and {given['load after']} after.")  # fmt: skip
    busiest = max(float(given[when].split()[0]) for when in ("load before", "load after"))
    processors = int(given["machine"].split()[0])
    if busiest > 2 * processors:
        words += (
            f" **The machine was busy with other work, {busiest / processors:.0f} runnable tasks for each "
            "processor: most of these times are waiting for a processor, and of few calls the ratios, too. "
            "They say that everything answers, not how fast it is.**"
        )
    return words


def table(rows):
    """Markdown; the first row is the head."""
    lines = ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows]
    lines.insert(1, "|" + "---|" * len(rows[0]))
    return "\n".join(lines)


def replaced(page, name, section):
    """`page` with a section in its place; at the end when it has none yet."""
    begin, end = f"<!-- {name}: written by bench, do not edit -->", f"<!-- end of {name} -->"
    block = f"{begin}\n{section.strip()}\n{end}"
    before, found, rest = page.partition(begin)
    if not found:
        return f"{page.rstrip()}\n\n{block}\n"
    _, closed, after = rest.partition(end)
    if not closed:
        raise ValueError(f"the section {name} has no end")
    return before + block + after


def write(name, section, result, plots=None, docs=DOCS):
    """Puts a section on the page; its results and plots into the directory beside it."""
    docs = pathlib.Path(docs)
    beside = docs / "performance"
    beside.mkdir(parents=True, exist_ok=True)
    (beside / f"{name}.json").write_text(json.dumps(result, indent=1) + "\n")
    for title, drawing in (plots or {}).items():
        (beside / f"{title}.svg").write_text(drawing)
    page = docs / "performance.md"
    text = page.read_text() if page.exists() else "# Performance\n"
    page.write_text(replaced(text, name, section))
    print(f"written: {page}, section {name}")
