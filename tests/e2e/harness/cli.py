"""The program's own commands."""

import subprocess

from . import place
from .server import clean_environment


def lamplight(*arguments, fails=False):
    """Runs a command; returns what it printed to standard output and error."""
    done = subprocess.run(
        [place.binary(), *map(str, arguments)],
        env=clean_environment(), capture_output=True, text=True, check=False, timeout=90,
    )  # fmt: skip
    assert (done.returncode != 0) == fails, done.stdout + done.stderr
    return done.stdout + done.stderr
