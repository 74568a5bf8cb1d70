"""The benchmark's own code works: a run of the smallest size, and how bars and the page are made.

Nothing here says how fast anything is.
"""

import json
import os
import pathlib
import subprocess
import sys
import xml.dom.minidom

import pytest
from harness import place
from harness.server import clean_environment

BENCH = place.ROOT / "bench"
sys.path.append(str(BENCH))

import bars  # noqa: E402
import page  # noqa: E402
import plots  # noqa: E402

WARM = {"kind": "warm", "language": "rust", "clients": 1}


def meter():
    """The benchmark's program; None when it was not built."""
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", place.ROOT / "target"))
    found = [path for profile in ("release", "debug") for path in target.glob(f"*/{profile}/meter")]
    return os.environ.get("BENCH_METER") or next(iter(found), None)


@pytest.mark.timeout(600)
def test_the_smallest_run_writes_its_page(tmp_path):
    if meter() is None:
        pytest.skip("bench/meter is not built")
    if not list((place.EXAMPLES / "rust" / "target").glob("*/release/examples/echo")):
        pytest.skip("the echo of examples/rust is not built")
    if place.node_runtime() is None:
        pytest.skip("no node")
    done = subprocess.run(
        [sys.executable, BENCH / "compare.py", "--tiny", "--only-lamplight", "--only", "warm", "cold",
         "rest", "burst", "--docs", tmp_path],
        env={**clean_environment(), "PYTHONPATH": str(place.ROOT / "tests" / "e2e"),
             "LAMPLIGHT_BIN": str(place.binary()), "BENCH_METER": str(meter())},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    result = json.loads((tmp_path / "performance" / "calls.json").read_text())
    assert {row["kind"] for row in result["rows"]} == {"warm", "boto3", "cold", "rest", "burst"}
    counted = [row for row in result["rows"] if "wrong" in row]
    assert all(row["n"] > 0 and row["wrong"] == 0 for row in counted), counted
    text = (tmp_path / "performance.md").read_text()
    for name in ("warm", "throughput", "cold"):
        assert f"performance/{name}.svg" in text
        xml.dom.minidom.parse(str(tmp_path / "performance" / f"{name}.svg"))


def judged(*rows):
    return {bar.what: bar.held for bar in bars.judge(list(rows))}


def test_a_bar_is_held_broken_or_not_measured():
    what = "warm p50, one client, rust"
    ours = {**WARM, "who": bars.HOME, "p50": 0.3, "p99": 1.0}
    assert judged()[what] is None
    assert judged(ours)[what] is None
    assert judged(ours, {**WARM, "who": "bare chain", "p50": 0.1})[what] is True
    assert judged(ours, {**WARM, "who": "bare chain", "p50": 0.09})[what] is False
    burst = {"kind": "burst", "what": "one function", "count": 500, "environments": 500, "all": 1.9}
    what = "0 to 500 environments of one function"
    assert judged({**burst, "wrong": 0, "left": 0})[what] is True
    assert judged({**burst, "wrong": 1, "left": 0})[what] is False
    assert judged({**burst, "wrong": 0, "left": 3})[what] is False
    assert judged({**burst, "wrong": 0, "left": 0, "environments": 499})[what] is False


def test_memory_is_judged_by_what_others_did_not_move():
    idle = {"kind": "idle", "language": "python", "charged": 2e6}
    what = "idle environment, python"
    assert judged({**idle, "available": 9e6, "lowest": 8.9e6, "highest": 9e6})[what] is False
    assert judged({**idle, "available": 9e6, "lowest": -50e6, "highest": 60e6})[what] is True


def test_a_section_is_replaced_and_the_rest_of_the_page_stays():
    page_ = page.replaced("# P\n\nwords\n", "one", "first")
    page_ = page.replaced(page_, "two", "second")
    page_ = page.replaced(page_ + "\nmore words\n", "one", "again")
    assert "first" not in page_ and page_.index("words") < page_.index("again") < page_.index("second")
    assert page_.endswith("more words\n")
    with pytest.raises(ValueError):
        page.replaced(page_.replace("<!-- end of two -->", ""), "two", "x")


def test_plots_of_nothing_are_none():
    assert plots.bars("t", [("a", [("x", None)])]) is None
    assert plots.lines("t", "u", [("a", [])]) is None
    assert plots.spread([5, 5, 40]) == [5, 19, 40]
