"""Where a function's imports look first.

AWS's runtime has loaded some of the standard library before the function starts, so
a function's own `types.py` or `logging.py` never stands in for Python's. We load
next to nothing; instead these names are looked up in the standard library first.

Invariants: every other name is left to the interpreter's own finders; whoever imports
`logging` first finds it set up (see `logs`).
"""

import importlib.machinery
import os
import sys

from . import logs

# AWS: what its runtime for Python has imported at this point, of what is not built in.
FIRST = frozenset(
    "collections contextlib copyreg decimal enum functools json keyword linecache logging math numbers "
    "operator re reprlib stat string textwrap threading token tokenize traceback types warnings weakref".split()
)


class Finder:
    def __init__(self):
        library = os.path.dirname(os.__file__)
        self._library = [path for path in sys.path if path.startswith(library) and not path.endswith("-packages")]

    def find_spec(self, name, path=None, target=None):
        if name not in FIRST or path is not None:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, self._library, target)
        if name == "logging" and spec is not None:
            spec.loader = SettingUp(spec.loader)
        return spec


class SettingUp:
    """Stands in for the loader of `logging` for the length of one import."""

    def __init__(self, real):
        self._real = real

    def __getattr__(self, name):
        return getattr(self._real, name)

    def create_module(self, spec):
        return self._real.create_module(spec)

    def exec_module(self, module):
        module.__spec__.loader = module.__loader__ = self._real
        self._real.exec_module(module)
        logs.set_up(module)


def install():
    if "logging" in sys.modules:
        logs.set_up(sys.modules["logging"])
    sys.meta_path.insert(0, Finder())
