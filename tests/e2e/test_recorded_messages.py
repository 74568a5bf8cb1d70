"""Every refusal that was recorded from AWS is provoked, and is the same to the letter.

The scenarios are in `refused_by_aws/`, a file for each part of the API: they ask for what is
refused and yield the answers. Each answer has to be a recorded one; which recorded ones were not
given is counted over all scenarios.
"""

import pytest
from harness import place, recorded
from harness.provoking import World
from refused_by_aws import SCENARIOS

ENOUGH = 0.95


class Outcomes:
    """What the scenarios got, each run once."""

    def __init__(self, world):
        self.world = world
        self.rows = recorded.table()
        self.given = {}
        self.of = {}

    def outcome(self, scenario):
        """The differences from what was recorded, of one scenario."""
        if scenario not in self.of:
            wrong = self.of[scenario] = []
            for answer in scenario(self.world):
                row, difference = recorded.find(self.rows, answer, self.world.names)
                if row:
                    self.given[row.line] = scenario.__name__
                else:
                    wrong.append(difference)
        return self.of[scenario]


@pytest.fixture(scope="module")
def outcomes(access):
    world = World(access)
    yield Outcomes(world)
    world.close()


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
def test_what_is_refused_is_refused_in_the_words_of_aws(outcomes, scenario):
    assert not outcomes.outcome(scenario)


@pytest.mark.skipif(place.isolation() != "namespaces", reason="images need namespaces")
def test_nearly_all_recorded_refusals_are_given(outcomes):
    for scenario in SCENARIOS:
        outcomes.outcome(scenario)
    applying = [row for row in outcomes.rows if not row.standing.startswith("absent")]
    missing = [row for row in applying if row.line not in outcomes.given]
    share = 1 - len(missing) / len(applying)
    print(f"{len(outcomes.rows)} recorded, {len(applying)} apply, {share:.1%} of them are given to the letter")
    unexplained = [f"line {row.line}: {row.message[:200]}" for row in missing if not row.standing]
    assert not unexplained, "\n".join(unexplained)
    known = [row.line for row in outcomes.rows if row.standing and row.line in outcomes.given]
    assert not known, f"these lines are given now, say so in the table: {known}"
    assert share >= ENOUGH
