"""Runs one function in one runtime client against a fake Runtime API.

A client is ours or AWS's own; what a run shows is reduced to what both must have in
common (`Outcome`): task paths, times and the client's own stack frames are replaced
or taken out. Invariant: no run outlives its call, and none waits for luck: it ends
when the client asks for an event that is not there, or when the process ends.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
from dataclasses import dataclass, field
from pathlib import Path

from fake_api import FakeApi, PREFIX

REPOSITORY = Path(__file__).resolve().parents[2]
PATIENCE = 60

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{3})?Z")
# Lines only AWS's clients print: an advice, the name of the folder, words for a refused answer.
ONLY_AWS = re.compile(r"LAMBDA_WARNING|^Executing '|LAMBDA_RUNTIME Failed to ")
OWN_FRAME = re.compile(r"aws-lambda-ric|runtimes/nodejs|(\(|at )node:|^\s+at new Promise")
OWN_FOLDER = re.compile(r"/\S*(aws-lambda-ric/dist|runtimes/nodejs)/")


@dataclass
class Case:
    name: str
    files: object
    handler: str = "app.handler"
    events: tuple = ({},)
    env: dict = field(default_factory=dict)
    # What the caller gets, event by event: a value, or Failed. None to leave it to `check`.
    answers: object = None
    init: object = None
    exit: object = None
    # Lines of stdout, None to leave them to the comparison with AWS's client.
    prints: object = None
    check: object = None
    # Why AWS's own client does otherwise; then it is not run.
    differs: str = ""


@dataclass(frozen=True)
class Failed:
    type: str
    message: str


@dataclass
class Outcome:
    answers: list
    init: object
    exit: object
    stdout: str
    stderr: str
    posts: list
    connections: int

    def lines(self):
        return self.stdout.splitlines() if "\r" not in self.stdout else self.stdout.rstrip("\n").split("\n")


def run(command, case, suffix):
    """Runs `case` to its end; `command` gets the handler's name in `_HANDLER` and as last word."""
    root = tempfile.mkdtemp(prefix="lamplight-runtime-")
    api = FakeApi(case.events)
    try:
        files = case.files if isinstance(case.files, dict) else {"app" + suffix: case.files}
        for name, text in files.items():
            path = Path(root, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        process = subprocess.Popen(
            [*command, case.handler],
            cwd=root,
            env=environment(root, api.address, case),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        return finish(process, api, root)
    finally:
        api.close()
        shutil.rmtree(root, ignore_errors=True)


def environment(root, address, case):
    return {
        "PATH": os.environ["PATH"],
        "LANG": "C.UTF-8",
        "PYTHONDONTWRITEBYTECODE": "1",
        "AWS_LAMBDA_RUNTIME_API": address,
        "_HANDLER": case.handler,
        "LAMBDA_TASK_ROOT": root,
        "AWS_LAMBDA_FUNCTION_NAME": "f",
        "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "128",
        "AWS_LAMBDA_LOG_GROUP_NAME": "/aws/lambda/f",
        "AWS_LAMBDA_LOG_STREAM_NAME": "2026/01/01/[$LATEST]0123456789abcdef0123456789abcdef",
        **case.env,
    }


def finish(process, api, root):
    ended = []

    def collect():
        ended.extend(process.communicate())
        api.idle.set()

    reader = threading.Thread(target=collect, daemon=True)
    reader.start()
    quiet = api.idle.wait(PATIENCE)
    # Nothing collected yet means a live process: the client waits for an event that will not come.
    code = process.returncode if ended else None
    process.kill()
    reader.join(PATIENCE)
    process.wait()
    assert quiet, "the client neither asked for the next event nor ended"
    stdout, stderr = (text.decode("utf-8", "replace") for text in ended)
    return reduce(api, root, (code, stdout, stderr))


def reduce(api, root, ended):
    code, stdout, stderr = ended
    answers, init, posts = [], None, []
    for request in api.posts():
        where = request.path[len(PREFIX) :]
        body = plain(request.body, root)
        posts.append((where, kept_headers(request, root), body, request.trailers))
        if where in ("/init/error", "/restore/error"):
            init = Failed(body["errorType"], body["errorMessage"])
        elif where.endswith("/error"):
            answers.append(Failed(body["errorType"], body["errorMessage"]))
        else:
            answers.append(body)
    return Outcome(answers, init, code, tidy(stdout, root), tidy(stderr, root), posts, api.connections)


def plain(body, root):
    """The body as JSON if it is, with paths replaced and the client's own frames gone."""
    try:
        value = json.loads(body)
    except ValueError:
        return body
    return walk(value, root)


def walk(value, root):
    if isinstance(value, dict):
        return {key: walk(item, root) for key, item in value.items() if not (key == "line" and item is None)}
    if isinstance(value, list):
        items = [item for item in value if not own_frame(item)]
        return [walk(item, root) for item in items]
    if isinstance(value, str):
        return tidy_text(value, root)
    return value


def own_frame(item):
    if isinstance(item, dict):
        return bool(OWN_FRAME.search(str(item.get("path")))) or item.get("path") in ("file", "node")
    return isinstance(item, str) and item.startswith("    at ") and bool(OWN_FRAME.search(item))


def kept_headers(request, root):
    """The header fields that carry meaning; our error type is more than AWS's clients send."""
    kept = {}
    for name, value in request.headers.items():
        if name == "lambda-runtime-function-xray-error-cause":
            cause = json.loads(value.encode("latin-1").decode("utf-8"))
            cause["paths"] = sorted(path for path in cause["paths"] if not own_frame({"path": path}))
            kept[name] = walk(cause, root)
        elif name.startswith("lambda-runtime-function-error") and "/invocation/" in request.path:
            continue
        elif name.startswith("lambda-runtime-"):
            kept[name] = value
        elif name == "content-type" and "/invocation/" in request.path:
            kept[name] = value
    return kept


def tidy(text, root):
    lines = [without_own_frames(line, root) for line in text.split("\n") if not ONLY_AWS.search(line)]
    return tidy_text("\n".join(lines), root)


def tidy_text(text, root):
    text = OWN_FOLDER.sub("/var/runtime/", text.replace(root, "/var/task"))
    return TIME.sub("TIME", text.replace(" [as handler]", ""))


def without_own_frames(line, root):
    """A Node.js log line ends in JSON that lists the frames."""
    head, mark, tail = line.partition("{")
    try:
        return head + json.dumps(walk(json.loads(mark + tail), root), ensure_ascii=False) if mark else line
    except ValueError:
        return line


# The clients. Each is (command, "") or (None, why it is not here).


def our_python():
    return [sys.executable, "-S", str(REPOSITORY / "runtimes/python/bootstrap.py")], ""


def our_node():
    if not shutil.which("node"):
        return None, "node is not installed"
    return ["node", str(REPOSITORY / "runtimes/nodejs/bootstrap.cjs")], ""


def official_python():
    found = subprocess.run([sys.executable, "-c", "import awslambdaric"], capture_output=True)
    if found.returncode != 0:
        return None, "awslambdaric is not installed beside this pytest"
    return [sys.executable, "-m", "awslambdaric"], ""


def official_node():
    usual = REPOSITORY / ".venv/node/node_modules/aws-lambda-ric"
    start = Path(os.environ.get("LAMPLIGHT_NODE_RIC", usual)) / "bin/index.mjs"
    if not start.exists():
        return None, "aws-lambda-ric is not at $LAMPLIGHT_NODE_RIC"
    return ["node", str(start)], ""
