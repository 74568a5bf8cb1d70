"""Start of the Python runtime client: prepares the interpreter, then runs the loop.

Run as `python -S /var/runtime/bootstrap.py` with the package `lamplight_runtime`
beside this file; Python 3.8 or newer, standard library only.

- `-S` keeps `site` from reading every `.pth` file of the interpreter, which on a
  developer's machine can cost more than the whole start. What a function may
  expect of `site` is done here: the interpreter's own site-packages at the END of
  `sys.path`, and the builtins `exit` and `quit`.
- No `-E` and no `-I`: a function may set PYTHONPATH, as on AWS.
- This file is compiled at every start, so it stays short. The package has its byte
  code cached when somebody has compiled it (`python -m compileall`).

Invariants: nothing of the function runs before `sys.path` is complete. Absent:
`sitecustomize`, `.pth` files, user site-packages.
"""

import builtins
import os
import sys

from lamplight_runtime import loop


def search_path(environ):
    """`sys.path` without duplicates: the function's code, layers, runtime, the rest."""
    lib = "lib/python%d.%d/site-packages" % sys.version_info[:2]
    runtime, inherited = sys.path[0], sys.path[1:]
    first = [environ.get("LAMBDA_TASK_ROOT") or os.getcwd(), "/opt/python/" + lib, "/opt/python", runtime]
    # A virtual environment shows only beside the executable: finding it is `site`'s work.
    roots = [os.path.dirname(os.path.dirname(sys.executable or "")), sys.prefix]
    own = [root + "/" + lib for root in roots]
    if sys.prefix == "/usr":
        # Debian keeps its packages under other names.
        own += ["/usr/local/" + lib.replace("site-", "dist-"), "/usr/lib/python3/dist-packages"]
    return list(dict.fromkeys(first + inherited + [path for path in own if os.path.isdir(path)]))


if __name__ == "__main__":
    if "_LAMPLIGHT_ZYGOTE" in os.environ:
        from lamplight_runtime import zygote

        # Comes back in the processes of functions, with their environment.
        zygote.serve(int(os.environ["_LAMPLIGHT_ZYGOTE"]))
    sys.path[:] = search_path(os.environ)
    builtins.exit = builtins.quit = sys.exit
    loop.run(os.environ["_HANDLER"], os.environ["AWS_LAMBDA_RUNTIME_API"])
