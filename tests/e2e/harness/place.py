"""What this machine has: the binary under test, runtimes, tools. Decides nothing by itself."""

import functools
import os
import pathlib
import platform
import shutil
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[3]
VENV = ROOT / ".venv"
EXAMPLES = ROOT / "examples"
NODE_MODULES = VENV / "node" / "node_modules"


def binary():
    """The program under test: $LAMPLIGHT_BIN, else the newest release build, else a debug one."""
    chosen = os.environ.get("LAMPLIGHT_BIN")
    if chosen:
        return pathlib.Path(chosen).resolve()
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    for profile in ("release", "debug"):
        found = [*target.glob(f"*/{profile}/lamplight"), *target.glob(f"{profile}/lamplight")]
        if found:
            return max(found, key=lambda path: path.stat().st_mtime)
    raise FileNotFoundError("no lamplight binary: run `cargo build --release`, or set LAMPLIGHT_BIN")


def isolation():
    """The mode that most scenarios run in."""
    chosen = os.environ.get("LAMPLIGHT_TEST_ISOLATION")
    return chosen or ("namespaces" if os.geteuid() == 0 else "process")


def _version(command):
    if shutil.which(command) is None:
        return ""
    done = subprocess.run([command, "--version"], capture_output=True, text=True, check=False)
    return (done.stdout or done.stderr).strip()


@functools.cache
def python_runtime():
    """`python3.11` for the python3 that is first in the path of the system."""
    for path in ("/usr/bin/python3", "python3"):
        words = _version(path).split()
        if len(words) == 2:
            return "python" + ".".join(words[1].split(".")[:2])
    return None


@functools.cache
def node_runtime():
    """`nodejs20.x` for the node of this machine; None without one."""
    version = _version("node").lstrip("v")
    return f"nodejs{version.split('.')[0]}.x" if version else None


@functools.cache
def aws_v2():
    """The path of an aws cli of version 2; None where there is none."""
    for directory in os.environ.get("PATH", "").split(os.pathsep) + ["/usr/bin", "/usr/local/bin"]:
        path = os.path.join(directory, "aws")
        if os.access(path, os.X_OK) and _version(path).startswith("aws-cli/2"):
            return path
    return None


def aws_v1():
    return str(VENV / "bin" / "aws")


def rust_example():
    """The built `bootstrap` of examples/rust; None when it was not built."""
    target = EXAMPLES / "rust" / "target"
    found = [*target.glob("*/release/bootstrap"), *target.glob("release/bootstrap")]
    return max(found, key=lambda path: path.stat().st_mtime) if found else None


def web_adapter():
    """The program of AWS's web adapter; None without it."""
    path = VENV / "adapter" / "bin" / "lambda-adapter"
    return path if path.exists() else None


def site_packages():
    """Where .venv keeps what pip installed; None without .venv."""
    return next((VENV / "lib").glob("python3*/site-packages"), None)


def architecture():
    return {"x86_64": "x86_64", "aarch64": "arm64"}[platform.machine()]
