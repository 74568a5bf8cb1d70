"""Fixtures that run a case once per client, however many tests look at it.

Looks at: the interpreter that runs pytest (AWS's `awslambdaric` is used when it can be
imported there), `node` on PATH, `$LAMPLIGHT_NODE_RIC` (the folder `node_modules/
aws-lambda-ric`; without it `.venv/node/node_modules/aws-lambda-ric`).
"""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

pytest.register_assert_rewrite("judge")

import runner  # noqa: E402


@pytest.fixture(scope="session")
def outcome_of():
    clients, outcomes = {}, {}

    def outcome(find, case, suffix):
        if find not in clients:
            clients[find] = find()
        command, missing = clients[find]
        if command is None:
            pytest.skip(missing)
        key = (find, case.name)
        if key not in outcomes:
            outcomes[key] = runner.run(command, case, suffix)
        return outcomes[key]

    return outcome
