"""The hooks of functions with SnapStart, around a snapshot that nobody takes.

Imported only where there is SnapStart. The hooks are those that the function registered with the
package `snapshot_restore_py`; where it did not import that, there are none.
"""

import sys


def run(api, report):
    """AWS: a hook that fails is reported under a name of its own, and ends the process."""
    package = sys.modules.get("snapshot_restore_py")
    before = package.get_before_snapshot() if package else []
    after = package.get_after_restore() if package else []
    try:
        # AWS: what was registered last comes first.
        for function, args, kwargs in reversed(before):
            function(*args, **kwargs)
    except BaseException as error:
        report(api, "/init/error", error, None, "Runtime.BeforeSnapshotError")
        sys.exit(64)
    api.get("/restore/next")
    try:
        for function, args, kwargs in after:
            function(*args, **kwargs)
    except BaseException as error:
        report(api, "/restore/error", error, None, "Runtime.AfterRestoreError")
        sys.exit(65)
