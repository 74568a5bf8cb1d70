"""Do the campaigns bite? Each one goes red when the bug that it is there for is planted."""

import os
import subprocess

import pytest
from harness import place

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or place.isolation() != "namespaces", reason="needs namespaces and root"
)

# Campaign, planted bug (crates/env/src/faults.rs has the list), and the figure that must break.
PLANTED = [
    ("c1", "early-answer", "lost"),
    ("c1", "forget-reclaim", "without a terminal record"),
    ("c2", "skip-sync", "lost something answered"),
    ("c2", "skip-directory-sync", "code that is missing"),
    ("c5", "forget-memory", "wrong answers"),
    ("c6", "late-kill", "all they started gone after"),
    ("c7", "leak-descriptor", "descriptors more than before"),
    ("c7", "skip-reaping", "zombies more than before"),
    ("c8", "no-request-timeout", "slow sockets still open"),
    ("c9", "follow-dots", "files outside"),
    ("c10", "allow-rare-sockets", "deviations"),
    ("c11", "one-lane", "events that began before it"),
    ("c16", "merge-lines", "lines that are not events of their own"),
]


@pytest.mark.timeout(900)  # The first one builds a server.
@pytest.mark.parametrize("campaign, bug, figure", PLANTED)
def test_planted_bug_is_found(campaign, bug, figure):
    command = ["cargo", "xtask", "campaign", campaign, "--size", "tiny", "--sabotage", bug]
    done = subprocess.run(command, cwd=place.ROOT, capture_output=True, text=True, check=False)
    broken = [line for line in done.stdout.splitlines() if line.endswith("BROKEN")]
    assert any(figure in line for line in broken), done.stdout + done.stderr
    assert done.returncode != 0
