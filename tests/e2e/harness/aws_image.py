"""A container image made like AWS's base image for Python, of this machine's Python and awslambdaric.

The paths, the variables and the two scripts are those of the original.
"""

import functools
import pathlib
import re
import shutil
import subprocess

from . import place, registry

PYTHON = pathlib.Path("/usr/bin/python3")
BASH = shutil.which("bash")

ENTRYPOINT = """#!/bin/sh
if [ $# -ne 1 ]; then
  echo "entrypoint requires the handler name to be the first argument" 1>&2
  exit 142
fi
export _HANDLER="$1"
RUNTIME_ENTRYPOINT=/var/runtime/bootstrap
if [ -z "${AWS_LAMBDA_RUNTIME_API}" ]; then
  exec /usr/local/bin/aws-lambda-rie $RUNTIME_ENTRYPOINT
else
  exec $RUNTIME_ENTRYPOINT
fi
"""

BOOTSTRAP = """#!/bin/bash
export AWS_EXECUTION_ENV=AWS_Lambda_python%(version)s
if [ -z "$AWS_LAMBDA_EXEC_WRAPPER" ]; then
  exec /var/lang/bin/python%(version)s /var/runtime/bootstrap.py
else
  wrapper="$AWS_LAMBDA_EXEC_WRAPPER"
  if [ ! -f "$wrapper" ]; then
    echo "$wrapper: does not exist"
    exit 127
  fi
  if [ ! -x "$wrapper" ]; then
    echo "$wrapper: is not an executable"
    exit 126
  fi
  exec -- "$wrapper" /var/lang/bin/python%(version)s /var/runtime/bootstrap.py
fi
"""

START = """
import os
import sys

if "PYTHONPATH" not in os.environ:
    version = "python%d.%d" % sys.version_info[:2]
    sys.path.insert(0, "/opt/python")
    sys.path.insert(0, "/opt/python/lib/%s/site-packages" % version)
    os.environ["PYTHONPATH"] = os.environ["LAMBDA_RUNTIME_DIR"]
sys.path.insert(0, os.environ["LAMBDA_TASK_ROOT"])

from awslambdaric.__main__ import main

main([sys.argv[0], os.environ["_HANDLER"]])
"""

CONFIG = {
    "Entrypoint": ["/lambda-entrypoint.sh"],
    "WorkingDir": "/var/task",
    "Env": [
        "LANG=en_US.UTF-8",
        "TZ=:/etc/localtime",
        "PATH=/var/lang/bin:/usr/local/bin:/usr/bin/:/bin:/opt/bin",
        "LD_LIBRARY_PATH=/var/lang/lib:/lib64:/usr/lib64:/var/runtime:/var/runtime/lib:/var/task"
        ":/var/task/lib:/opt/lib",
        "LAMBDA_TASK_ROOT=/var/task",
        "LAMBDA_RUNTIME_DIR=/var/runtime",
    ],
}


def missing():
    """Why it cannot be made here; empty where it can."""
    if not PYTHON.exists() or BASH is None:
        return "no Python or bash of the system to make an image of"
    packages = place.site_packages()
    if packages is None or not (packages / "awslambdaric").exists():
        return "awslambdaric is not installed: see .venv/missing"
    return ""


def libraries(*programs):
    """{path in the image: content} of the shared libraries that programs need."""
    told = subprocess.run(["ldd", *programs], capture_output=True, text=True, check=False).stdout
    found = set(re.findall(r"(/\S+) \(0x", told))
    return {path.lstrip("/"): pathlib.Path(path).read_bytes() for path in found}


@functools.cache
def base():
    """The layer, for a Python of the system's version."""
    version = place.python_runtime().removeprefix("python")
    stdlib = pathlib.Path(f"/usr/lib/python{version}")
    left_out = {"__pycache__", "test", "idlelib", "lib2to3", "pydoc_data", "tkinter", "dist-packages"}
    modules = {
        f"var/lang/lib/python{version}/{path.relative_to(stdlib)}": path.read_bytes()
        for path in stdlib.rglob("*")
        if path.is_file() and not left_out & set(path.relative_to(stdlib).parts)
    }
    packages = place.site_packages()
    client = [
        path
        for name in ("awslambdaric", "simplejson", "snapshot_restore_py")
        for path in (packages / name).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    ]
    client += packages.glob("runtime_client*.so")
    native = [*stdlib.glob("lib-dynload/*.so"), *packages.glob("runtime_client*.so")]
    files = {
        **libraries(PYTHON, BASH, *native),
        **modules,
        **{f"var/runtime/{path.relative_to(packages)}": path.read_bytes() for path in client},
        "usr/bin/bash": pathlib.Path(BASH).read_bytes(),
        f"var/lang/bin/python{version}": PYTHON.read_bytes(),
        "var/runtime/bootstrap": BOOTSTRAP % {"version": version},
        "var/runtime/bootstrap.py": START,
        "lambda-entrypoint.sh": ENTRYPOINT,
        "etc/system-release": "made like AWS's\n",
        "opt/in-the-image": "",
        "var/task/in-the-image": "",
    }
    programs = ("usr/bin/bash", f"var/lang/bin/python{version}", "var/runtime/bootstrap")
    modes = {path: 0o755 for path in (*programs, "lambda-entrypoint.sh")}
    modes |= {path: 0o755 for path in files if ".so" in path}
    links = {"bin": "usr/bin", "usr/bin/sh": "bash"}
    return registry.layer(files, links, modes)
