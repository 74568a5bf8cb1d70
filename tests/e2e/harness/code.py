"""Code to deploy: zip files in memory, and functions that do what a test asks."""

import io
import json
import pathlib
import textwrap
import zipfile

# Runs what the event says, inside the sandbox, and answers with its `result`. Names stay between
# calls in `memory`, as globals of a warm environment do.
PROBE = """
memory = {}

def handler(event, context):
    scope = {"event": event, "context": context, "memory": memory}
    exec(event["python"], scope)
    return scope.get("result")
"""


def zipped(files, modes=None):
    """A zip file of {path: text or bytes}. `modes` gives paths another mode than 0644."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            # A fixed date, so that the same files give the same bytes.
            entry = zipfile.ZipInfo(name, (2026, 1, 1, 0, 0, 0))
            entry.external_attr = (modes or {}).get(name, 0o644) << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, content)
    return buffer.getvalue()


def python(source):
    return zipped({"app.py": textwrap.dedent(source)})


def node(source):
    return zipped({"index.mjs": textwrap.dedent(source)})


def bootstrap(script, files=None, modes=None):
    """A function that brings its own runtime: a shell script or a program called bootstrap."""
    content = textwrap.dedent(script) if isinstance(script, str) else script
    return zipped({"bootstrap": content, **(files or {})}, {"bootstrap": 0o755, **(modes or {})})


def tree(root, *below):
    """{path: bytes} of the files of directories below `root`, without caches."""
    files = {}
    for part in below:
        start = pathlib.Path(root, part)
        for path in [start] if start.is_file() else sorted(start.rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                files[str(path.relative_to(root))] = path.read_bytes()
    return files


def payload(answer):
    """The payload of an Invoke answer: JSON, or None when it is empty."""
    body = answer["Payload"].read()
    return json.loads(body) if body else None
