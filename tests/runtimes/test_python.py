"""Our Python client and awslambdaric: each does what the table says, and both the same."""

import judge
import pytest
import runner
from cases_python import CASES

CLIENTS = {"ours": runner.our_python, "awslambdaric": runner.official_python}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
@pytest.mark.parametrize("client", CLIENTS)
def test_does_as_written(client, case, outcome_of):
    if case.differs and client != "ours":
        pytest.skip("awslambdaric differs: " + case.differs)
    judge.as_written(case, outcome_of(CLIENTS[client], case, ".py"))


@pytest.mark.parametrize("case", [c for c in CASES if not c.differs], ids=lambda case: case.name)
def test_shows_the_same(case, outcome_of):
    official = outcome_of(runner.official_python, case, ".py")
    judge.same(outcome_of(runner.our_python, case, ".py"), official)
