"""Images made like AWS's base images: as functions, and installed as runtimes."""

import base64

import pytest
from harness import aws, aws_image, code, docker_registry, place, registry
from harness.cli import lamplight
from harness.functions import call, deploy, fresh_name

pytestmark = [
    pytest.mark.skipif(place.isolation() != "namespaces", reason="images need namespaces"),
    pytest.mark.skipif(docker_registry.PROGRAM is None, reason="no docker-registry: see .venv/missing"),
    pytest.mark.skipif(bool(aws_image.missing()), reason=aws_image.missing() or "-"),
]

# One that nobody's machine finds by itself, so that it is the image that answers.
RUNTIME = "ruby3.4"

HANDLER = """
import os, sys

def handler(event, context):
    try:
        from tool import answer
    except ImportError:
        answer = None
    return {
        "event": event,
        "name": context.function_name,
        "system": open("/etc/system-release").read(),
        "host": os.path.exists("/usr/bin/python3"),
        "task": sorted(os.listdir("/var/task")),
        "opt": sorted(os.listdir("/opt")),
        "python": sys.executable,
        "layer": answer,
        "wrapped": os.environ.get("WRAPPED"),
        "cwd": os.getcwd(),
        "command": os.environ["_HANDLER"],
    }

def other(event, context):
    return "other"

def fail(event, context):
    raise RuntimeError("no light")
"""


@pytest.fixture(scope="module")
def images():
    with docker_registry.DockerRegistry() as images:
        layers = [aws_image.base()]
        images.base = images.push("base", "1", layers, **aws_image.CONFIG)["digest"]
        # What `FROM base`, `COPY app.py ${LAMBDA_TASK_ROOT}` and `CMD` make.
        layers.append(registry.layer({"var/task/app.py": HANDLER}))
        images.push("app", "1", layers, **{**aws_image.CONFIG, "Cmd": ["app.handler"]})
        bare = {"Entrypoint": ["sh", "-c", 'exec /var/runtime/bootstrap "$0"']}
        entry = registry.layer({}, whiteouts=["var/runtime/.wh.bootstrap"])
        images.push("entry", "1", [layers[0], entry], **{**aws_image.CONFIG, **bare})
        yield images


def create(client, image, **settings):
    name = fresh_name("image")
    client.create_function(
        FunctionName=name, PackageType="Image", Code={"ImageUri": image}, Role=aws.ROLE,
        Timeout=20, **settings,
    )  # fmt: skip
    client.get_waiter("function_active_v2").wait(
        FunctionName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 60}
    )
    return name


def test_a_function_made_from_the_base_image_runs_unchanged(client, images):
    name = create(client, f"{images.name}/app:1")
    for _ in range(2):
        answer = call(client, name, {"a": 1})[0]
        assert answer["event"] == {"a": 1}
        assert (answer["name"], answer["command"]) == (name, "app.handler")
        assert (answer["system"], answer["host"]) == ("made like AWS's\n", False)
        assert (answer["cwd"], answer["task"]) == ("/var/task", ["app.py", "in-the-image"])
        assert answer["python"].startswith("/var/lang/bin/python3")
    other = create(client, f"{images.name}/app:1", ImageConfig={"Command": ["app.other"]})
    assert call(client, other)[0] == "other"
    failing = create(client, f"{images.name}/app:1", ImageConfig={"Command": ["app.fail"]})
    payload, answer = call(client, failing)
    assert answer["FunctionError"] == "Unhandled"
    assert (payload["errorType"], payload["errorMessage"]) == ("RuntimeError", "no light")
    # As the original's entry point says it, too.
    two = create(client, f"{images.name}/app:1", ImageConfig={"Command": ["app.handler", "more"]})
    payload, answer = call(client, two, LogType="Tail")
    assert "exit status 142" in payload["errorMessage"]
    assert "requires the handler name" in base64.b64decode(answer["LogResult"]).decode()
    for function in (name, other, failing, two):
        client.delete_function(FunctionName=function)


def deployed(client, source=HANDLER, **settings):
    return deploy(client, source, FunctionName=fresh_name("f"), Runtime=RUNTIME, **settings)


def test_an_installed_runtime_runs_functions(own_server, images):
    server = own_server()
    client = server.client()
    at = ("--data-dir", server.data_dir)
    told = lamplight("runtime", "list", RUNTIME, *at, fails=True)
    assert f"`lamplight runtime install {RUNTIME} --from REGISTRY/IMAGE`" in told
    with pytest.raises(client.exceptions.InvalidParameterValueException, match="runtime install"):
        deployed(client)

    told = lamplight("runtime", "install", RUNTIME, "--from", f"{images.name}/base:1", *at)
    pinned = f"{images.name}/base@{images.base}"
    assert f"{RUNTIME} is installed: {pinned}" in told
    assert f"{RUNTIME:<16} yes  {pinned}" in lamplight("runtime", "list", *at)
    assert pinned in lamplight("doctor", *at)

    # The server that runs has noticed.
    layer = client.publish_layer_version(
        LayerName=fresh_name("layer"),
        Content={
            "ZipFile": code.zipped(
                {"python/tool.py": "answer = 42\n", "wrap": '#!/bin/sh\nWRAPPED=once$WRAPPED exec "$@"\n'},
                modes={"wrap": 0o755},
            )
        },
    )
    plain = deployed(client)
    answer = call(client, plain, {"a": 1})[0]
    assert answer["event"] == {"a": 1}
    assert (answer["system"], answer["host"]) == ("made like AWS's\n", False)
    assert (answer["task"], answer["opt"]) == (["app.py"], [])
    assert (answer["layer"], answer["wrapped"]) == (None, None)
    layered = deployed(
        client,
        Layers=[layer["LayerVersionArn"]],
        Environment={"Variables": {"AWS_LAMBDA_EXEC_WRAPPER": "/opt/wrap"}},
    )
    answer = call(client, layered)[0]
    # The image's own start sees to the wrapper, and nobody else does so again.
    assert (answer["layer"], answer["wrapped"]) == (42, "once")
    assert answer["opt"] == ["python", "wrap"]
    payload, answer = call(client, deployed(client, Handler="app.fail"), LogType="Tail")
    assert (payload["errorType"], payload["errorMessage"]) == ("RuntimeError", "no light")

    # Removed under an environment that runs: that one goes on, and no new one starts.
    lamplight("runtime", "remove", RUNTIME, *at)
    assert call(client, plain)[0]["system"] == "made like AWS's\n"
    with pytest.raises(client.exceptions.InvalidParameterValueException, match="runtime install"):
        deployed(client)
    roots = server.data_dir / "runtimes" / "roots"
    assert list(roots.iterdir())
    server.stop()
    server.start()
    assert not list(roots.iterdir())
    lamplight("runtime", "remove", RUNTIME, *at, fails=True)


def test_an_installed_runtime_is_there_after_a_restart(own_server, images):
    server = own_server()
    at = ("--data-dir", server.data_dir)
    lamplight("runtime", "install", RUNTIME, "--from", f"{images.name}/base:1", *at)
    name = deployed(server.client())
    server.kill()
    server.start()
    assert call(server.client(), name)[0]["system"] == "made like AWS's\n"


def test_what_is_no_runtime_is_not_installed(own_server, images):
    server = own_server(start=False)
    at = ("--data-dir", server.data_dir)
    images.push("empty", "1", [registry.layer({"data": "x"})])
    for arguments, why in [
        ((RUNTIME, "--from", f"{images.name}/empty:1"), "it is no runtime"),
        ((RUNTIME, "--from", f"{images.name}/base:none"), "does not exist"),
        (("cobol85", "--from", f"{images.name}/base:1"), "is no runtime that functions can be"),
        (("python2.7", "--from", f"{images.name}/base:1"), "is no runtime that functions can be"),
        ((RUNTIME, "--jars", server.home), "for Java alone"),
        (("java17", "--jars", server.home), "has 0 files called aws-lambda-java-runtime-interface"),
        ((RUNTIME,), "--from REGISTRY/IMAGE"),
    ]:
        assert why in lamplight("runtime", "install", *arguments, *at, fails=True)
    assert "yes" not in [
        line.split()[1]
        for line in lamplight("runtime", "list", *at).splitlines()
        if line.strip().startswith(("ruby", "dotnet"))
    ]


def test_a_runtime_comes_from_behind_a_password(own_server, tmp_path):
    server = own_server(start=False)
    at = ("--data-dir", server.data_dir)
    with docker_registry.DockerRegistry("token") as images:
        start = registry.layer({"var/runtime/bootstrap": "x"})
        pinned = f"{images.name}/base@{images.push('base', '1', [start])['digest']}"
        arguments = ("runtime", "install", RUNTIME, "--from", f"{images.name}/base:1", *at)
        assert "cannot be pulled" in lamplight(*arguments, fails=True)
        config = tmp_path / "lamplight.toml"
        config.write_text(images.login(tmp_path))
        told = lamplight(*arguments, "--config", config)
        assert f"{RUNTIME} is installed: {pinned}" in told
        assert docker_registry.PASSWORD not in told.split()


def test_process_mode_has_no_installed_images(own_server, images):
    server = own_server(isolation="process")
    at = ("--data-dir", server.data_dir)
    lamplight("runtime", "install", RUNTIME, "--from", f"{images.name}/base:1", *at)
    client = server.client()
    with pytest.raises(client.exceptions.InvalidParameterValueException, match="need isolation"):
        deployed(client)


def test_provided_runtimes_take_the_root_alone(own_server, images):
    server = own_server()
    client = server.client()
    at = ("--data-dir", server.data_dir)
    runtime = "provided.al2023"
    lamplight("runtime", "install", runtime, "--from", f"{images.name}/base:1", *at)
    version = place.python_runtime()
    bootstrap = f"""#!/bin/sh
exec /var/lang/bin/{version} /var/runtime/bootstrap.py
"""
    package = code.bootstrap(bootstrap, {"app.py": HANDLER})
    name = deploy(client, package, Runtime=runtime)
    answer = call(client, name)[0]
    assert (answer["system"], answer["task"]) == ("made like AWS's\n", ["app.py", "bootstrap"])
