"""What makes a run right: its table row, and AWS's own client doing the same."""


def as_written(case, outcome):
    assert outcome.exit == case.exit, outcome.stdout + outcome.stderr
    assert outcome.init == case.init
    if case.answers is not None:
        assert outcome.answers == list(case.answers)
    if case.prints is not None:
        assert outcome.lines() == list(case.prints)
    if case.check is not None:
        # A check asserts, or returns what has to be true.
        assert case.check(outcome) in (None, True), outcome


def same(ours, official):
    assert ours.posts == official.posts
    assert ours.stdout == official.stdout
    assert ours.exit == official.exit
