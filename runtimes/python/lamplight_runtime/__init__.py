"""Lamplight's client of the Lambda Runtime API for Python.

The modules imported at start use only what the interpreter has built in or loads in
well under a millisecond. `faults` is imported when something has failed, and `logs`
imports what it needs when a function imports `logging`. A zygote imports all of them
before there is a function, so none reads the environment when it is imported.
"""


class Fault(Exception):
    """A failure with a name of the Runtime's own; `trace` is a list of text frames."""

    def __init__(self, kind, message, trace=()):
        super().__init__(message)
        self.kind = kind
        self.message = message
        self.trace = list(trace)
