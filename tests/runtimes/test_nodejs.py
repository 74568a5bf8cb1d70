"""Our Node.js client and aws-lambda-ric: each does what the table says, and both the same."""

import judge
import pytest
import runner
from cases_nodejs import CASES

CLIENTS = {"ours": runner.our_node, "aws-lambda-ric": runner.official_node}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
@pytest.mark.parametrize("client", CLIENTS)
def test_does_as_written(client, case, outcome_of):
    if case.differs and client != "ours":
        pytest.skip("aws-lambda-ric differs: " + case.differs)
    judge.as_written(case, outcome_of(CLIENTS[client], case, ".js"))


@pytest.mark.parametrize("case", [c for c in CASES if not c.differs], ids=lambda case: case.name)
def test_shows_the_same(case, outcome_of):
    official = outcome_of(runner.official_node, case, ".js")
    judge.same(outcome_of(runner.our_node, case, ".js"), official)
