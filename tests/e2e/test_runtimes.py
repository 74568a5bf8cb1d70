"""Functions in every runtime: the examples, and the official runtime clients as they are."""

import json

import pytest
from harness import code, place
from harness.functions import call, fresh_name
from harness.leftovers import wait_until

EVENT = json.loads((place.EXAMPLES / "events" / "s3-put.json").read_text())
ANSWER = {"statusCode": 200, "body": '"lamp-post"'}


def printed(logs, name, needle):
    def there():
        try:
            events = logs.filter_log_events(logGroupName=f"/aws/lambda/{name}")["events"]
        except logs.exceptions.ResourceNotFoundException:
            return None
        lines = [one["message"] for one in events]
        return lines if any(needle in line for line in lines) else None

    return wait_until(there, f"{needle!r} in the log of {name}")


def check(client, logs, name):
    """The example's answer, twice, and the three lines that it prints."""
    for _ in range(2):
        payload, answer = call(client, name, EVENT)
        assert "FunctionError" not in answer, payload
        assert payload == ANSWER
    lines = printed(logs, name, "REPORT")
    assert any("ObjectCreated:Put" in line for line in lines)
    assert any("remaining time: " in line for line in lines)
    assert any("memory limit: 128 MB" in line for line in lines)


def test_python_example(client, logs, function):
    source = (place.EXAMPLES / "python" / "app.py").read_text()
    check(client, logs, function(source, Handler="app.lambda_handler"))


needs_node = pytest.mark.skipif(place.node_runtime() is None, reason="no node on this machine")


@needs_node
def test_node_example(client, logs, function):
    package = code.zipped(code.tree(place.EXAMPLES / "nodejs", "index.mjs"))
    check(client, logs, function(package, Runtime=place.node_runtime(), Handler="index.handler"))


@needs_node
@pytest.mark.parametrize(
    "file, source",
    [
        ("index.js", "exports.handler = async (event) => event;\n"),
        ("index.cjs", "exports.handler = (event, context, callback) => callback(null, event);\n"),
        ("index.mjs", "export const handler = async (event) => event;\n"),
    ],
)
def test_module_kinds_of_node(client, function, file, source):
    name = function(
        code.zipped({file: source}), Runtime=place.node_runtime(), Handler="index.handler"
    )
    assert call(client, name, {"a": 1})[0] == {"a": 1}


@needs_node
@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_what_node_writes_is_in_the_log_before_the_end(client, logs, function, stream):
    """More than a pipe holds, past the console, and right before the answer."""
    source = f"""
    export const handler = async () => {{
      process.{stream}.write(("a line of the function " + "x".repeat(200) + "\\n").repeat(2000));
    }};
    """
    name = function(code.node(source), Runtime=place.node_runtime(), Handler="index.handler")
    assert call(client, name)[1]["StatusCode"] == 200
    messages = printed(logs, name, "REPORT")
    end = next(i for i, message in enumerate(messages) if message.startswith("END "))
    assert sum(message.startswith("a line of") for message in messages[:end]) == 2000


# The example of AWS's documentation: puts options before the last word of the command.
WRAPPER = """#!/bin/bash
args=("$@")
extra_args=(%s)
args=("${args[@]:0:$#-1}" "${extra_args[@]}" "${args[@]: -1}")
exec "${args[@]}"
"""


@pytest.mark.parametrize(
    "runtime, options, package, expected",
    [
        (
            place.python_runtime(),
            "-X utf8=1 -O",
            code.python("import sys\ndef handler(e, c): return [sys.flags.utf8_mode, sys.flags.optimize]\n"),
            [1, 1],
        ),
        pytest.param(
            place.node_runtime(),
            "--no-deprecation --stack-trace-limit=7",
            code.zipped({"app.cjs": "exports.handler = async () => process.execArgv;\n"}),
            ["--no-deprecation", "--stack-trace-limit=7"],
            marks=needs_node,
        ),
    ],
)
def test_a_wrapper_in_a_layer_adds_options(client, function, runtime, options, package, expected):
    layer = client.publish_layer_version(
        LayerName=fresh_name("wrapper"),
        Content={"ZipFile": code.zipped({"wrapper": WRAPPER % options}, {"wrapper": 0o755})},
    )
    name = function(
        package,
        Runtime=runtime,
        Layers=[layer["LayerVersionArn"]],
        Environment={"Variables": {"AWS_LAMBDA_EXEC_WRAPPER": "/opt/wrapper"}},
    )
    assert call(client, name)[0] == expected
    client.delete_layer_version(LayerName=layer["LayerArn"], VersionNumber=layer["Version"])


def rust_package():
    program = place.rust_example()
    if program is None:
        pytest.skip("examples/rust is not built: cargo build --release in that directory")
    return code.bootstrap(program.read_bytes())


def test_rust_example(client, logs, function):
    check(client, logs, function(rust_package(), Runtime="provided.al2023", Handler="any"))


def test_rust_error(client, function):
    name = function(rust_package(), Runtime="provided.al2023", Handler="any")
    payload, answer = call(client, name, {"Records": []})
    assert answer["FunctionError"] == "Unhandled"
    assert payload["errorMessage"] == "the event has no records"
    assert call(client, name, EVENT)[0] == ANSWER


def test_official_python_client(client, logs, function):
    """awslambdaric from PyPI, unmodified, started by a bootstrap as in a container image."""
    packages = place.site_packages()
    if packages is None or not (packages / "awslambdaric").exists():
        pytest.skip("awslambdaric is not installed: see .venv/missing")
    files = code.tree(packages, "awslambdaric", "simplejson", "snapshot_restore_py")
    files |= {path.name: path.read_bytes() for path in packages.glob("runtime_client*.so")}
    files["app.py"] = (place.EXAMPLES / "python" / "app.py").read_bytes()
    name = function(
        code.bootstrap(
            '#!/bin/sh\ncd "$LAMBDA_TASK_ROOT"\nexec python3 -m awslambdaric "$_HANDLER"\n', files
        ),
        Runtime="provided.al2023",
        Handler="app.lambda_handler",
    )
    check(client, logs, name)


@needs_node
def test_official_node_client(client, logs, function):
    """aws-lambda-ric from npm, unmodified, started by a bootstrap as in a container image."""
    modules = place.NODE_MODULES
    if not (modules / "aws-lambda-ric" / "dist" / "rapid-client.node").exists():
        pytest.skip("aws-lambda-ric is not installed: see .venv/missing")
    parts = [
        f"aws-lambda-ric/{part}" for part in ("bin", "dist", "package.json", "deps/artifacts")
    ]
    files = code.tree(modules, *(part for part in parts if (modules / part).exists()))
    files = {f"node_modules/{path}": content for path, content in files.items()}
    files["index.mjs"] = (place.EXAMPLES / "nodejs" / "index.mjs").read_bytes()
    name = function(
        code.bootstrap(
            '#!/bin/sh\ncd "$LAMBDA_TASK_ROOT"\n'
            'exec node node_modules/aws-lambda-ric/bin/index.mjs "$_HANDLER"\n',
            files,
        ),
        Runtime="provided.al2023",
        Handler="index.handler",
    )
    check(client, logs, name)


def test_runtime_settings_of_a_zip_with_packages(client, function):
    """Modules beside the handler, in directories, with a handler path of several parts."""
    name = function(
        code.zipped({
            "street/lamps/app.py": "from street.oil import KIND\n"
            "def handler(event, context):\n    return KIND\n",
            "street/oil.py": "KIND = 'whale'\n",
        }),
        Handler="street.lamps.app.handler",
    )  # fmt: skip
    assert call(client, name)[0] == "whale"


def test_slashes_in_a_handler(client, function):
    name = function(
        code.zipped({"street/app.py": "def handler(event, context):\n    return __name__\n"}),
        Handler="street/app.handler",
    )
    assert call(client, name)[0] == "street.app"
