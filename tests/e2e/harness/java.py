"""Java functions: compiled here, run by AWS's own client, which tests/setup.sh takes from Maven."""

import functools
import pathlib
import re
import shutil
import subprocess
import tempfile

from . import place

JARS = place.VENV / "java"
CLIENT = "aws-lambda-java-runtime-interface-client-*.jar"


@functools.cache
def jdks():
    """{`java17`: its executable} of the machine, as far as functions can be run on them."""
    places = [*pathlib.Path("/usr/lib/jvm").glob("*/bin/java"), pathlib.Path("/usr/bin/java")]
    found = {}
    for path in sorted({path.resolve() for path in places if path.exists()}):
        told = subprocess.run([path, "--version"], capture_output=True, text=True, check=False)
        version = re.match(r"\S+ (\d+)", told.stdout)
        if version and version[1] in ("11", "17", "21", "25"):
            found[f"java{version[1]}"] = str(path)
    return found


def missing():
    """Why no Java function can be run here; empty where one can."""
    if not jdks():
        return "no Java on this machine"
    if shutil.which("javac") is None:
        return "no javac on this machine"
    if not list(JARS.glob(CLIENT)):
        return "AWS's client for Java is not there: see .venv/missing"
    return ""


def compiled(sources, class_path=()):
    """{path: bytes} of the classes made of {file: source}, for the oldest Java that is tried."""
    with tempfile.TemporaryDirectory() as home:
        root, classes = pathlib.Path(home, "sources"), pathlib.Path(home, "classes")
        for name, text in sources.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(text)
        jars = [str(jar) for jar in [*JARS.glob("*.jar"), *class_path]]
        subprocess.run(
            ["javac", "--release", "11", "-cp", ":".join(jars), "-d", str(classes),
             *(str(root / name) for name in sources)],
            check=True, capture_output=True, text=True,
        )  # fmt: skip
        return {
            str(path.relative_to(classes)): path.read_bytes() for path in classes.rglob("*.class")
        }
