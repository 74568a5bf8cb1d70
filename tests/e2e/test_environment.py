"""The environment of a function as it sees it itself, held against what was recorded on AWS."""

import http.client
import json
import re
import shutil
import stat

import pytest
from harness import code, place, registry
from harness.functions import call, deploy, run_inside
from harness.refusals import refused
from test_images import bash_and_its_libraries, create

pytestmark = pytest.mark.skipif(
    place.isolation() != "namespaces", reason="isolation is not `namespaces` in this run"
)

API = "169.254.100.1:9001"
LIBRARIES = "/lib64:/usr/lib64:/var/runtime:/var/runtime/lib:/var/task:/var/task/lib:/opt/lib"
PATH = "/usr/local/bin:/usr/bin/:/bin:/opt/bin"
SECRET = "[A-Za-z0-9+/=_.-]+"

# Patterns of the values of every function's variables, whatever its package.
ALWAYS = {
    "AWS_ACCESS_KEY_ID": "ASIA[A-Z0-9]+",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_ENDPOINT_URL": r"http://169\.254\.100\.1:\d+",  # Ours alone: the way to this server.
    "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "256",
    "AWS_LAMBDA_FUNCTION_VERSION": r"\$LATEST",
    "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
    "AWS_LAMBDA_LOG_STREAM_NAME": r"\d{4}/\d\d/\d\d/\[\$LATEST\][0-9a-f]{32}",
    "AWS_LAMBDA_METADATA_API": re.escape(API),
    "AWS_LAMBDA_METADATA_TOKEN": "[0-9a-f-]{36}",
    "AWS_LAMBDA_RUNTIME_API": re.escape(API),
    "AWS_REGION": "us-east-1",
    "AWS_SECRET_ACCESS_KEY": SECRET,
    "AWS_SESSION_TOKEN": SECRET,
    "AWS_XRAY_CONTEXT_MISSING": "LOG_ERROR",
    "AWS_XRAY_DAEMON_ADDRESS": r"169\.254\.100\.1:2000",
    "LAMBDA_RUNTIME_DIR": "/var/runtime",
    "LAMBDA_TASK_ROOT": "/var/task",
    "LAMP": "on",
    "_AWS_XRAY_DAEMON_ADDRESS": r"169\.254\.100\.1",
    "_AWS_XRAY_DAEMON_PORT": "2000",
}
PROVIDED = {
    "LANG": "en_US.UTF-8",
    "LD_LIBRARY_PATH": LIBRARIES,
    "PATH": PATH,
    "TZ": ":UTC",
}
MANAGED = {
    **PROVIDED,
    "LD_LIBRARY_PATH": f"/var/lang/lib:{LIBRARIES}",
    "PATH": f"/var/lang/bin:{PATH}",
    "PWD": "/var/task",
    "SHLVL": "0",
    "_X_AMZN_TRACE_ID": "Root=1-[0-9a-f]{8}-[0-9a-f]{24};Parent=[0-9a-f]{16};Sampled=[01];"
                        "Lineage=1:[0-9a-f]{8}:[0-9]+",
}
SETTINGS = {"Environment": {"Variables": {"LAMP": "on"}}, "MemorySize": 256}

# A runtime in nothing but bash that answers with the variables it was started with.
DUMP = r"""#!/bin/bash
mapfile -d '' variables </proc/self/environ
body=$(printf '%s\n' "${variables[@]}")
server=/dev/tcp/${AWS_LAMBDA_RUNTIME_API/://}
paths=/2018-06-01/runtime/invocation
while :; do
  exec 3<>"$server"
  printf 'GET %s/next HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n' $paths >&3
  while IFS= read -r -u 3 line && line=${line%$'\r'} && [ -n "$line" ]; do
    case ${line,,} in lambda-runtime-aws-request-id:*) id=${line#*: } ;; esac
  done
  exec 3>&-
  exec 3<>"$server"
  printf 'POST %s/%s/response HTTP/1.1\r\nHost: x\r\nConnection: close\r\n' $paths "$id" >&3
  printf 'Content-Length: %d\r\n\r\n%s' ${#body} "$body" >&3
  while read -r -u 3 line; do :; done
  exec 3>&-
done
"""

needs_bash = pytest.mark.skipif(shutil.which("bash") is None, reason="no bash on this machine")


def dumped(client, name):
    text = client.invoke(FunctionName=name)["Payload"].read().decode()
    return dict(line.split("=", 1) for line in text.splitlines())


def check(got, name, expected):
    """Exactly these variables, each as its pattern says."""
    names = {"AWS_LAMBDA_FUNCTION_NAME": name, "AWS_LAMBDA_LOG_GROUP_NAME": f"/aws/lambda/{name}"}
    patterns = {**ALWAYS, **{key: re.escape(value) for key, value in names.items()}, **expected}
    assert sorted(got) == sorted(patterns)
    wrong = {key: got[key] for key, pattern in patterns.items() if not re.fullmatch(pattern, got[key])}
    assert wrong == {}


def test_variables_of_python(client, function):
    name = function(code.PROBE, **SETTINGS)
    got = run_inside(client, name, "import os\nresult = dict(os.environ)")
    # Python's own, where the machine does not have the locale of LANG; recorded on AWS as well.
    assert got.pop("LC_CTYPE", "C.UTF-8") == "C.UTF-8"
    check(got, name, {
        **MANAGED,
        "AWS_EXECUTION_ENV": f"AWS_Lambda_{place.python_runtime()}",
        "PYTHONPATH": "/var/runtime",
        "_HANDLER": "app.handler",
    })  # fmt: skip


@pytest.mark.skipif(place.node_runtime() is None, reason="no Node.js on this machine")
def test_variables_of_node(client, function):
    runtime = place.node_runtime()
    name = function(
        code.node("export const handler = async () => process.env;"),
        Runtime=runtime, Handler="index.handler", **SETTINGS,
    )  # fmt: skip
    major = runtime.removeprefix("nodejs").split(".")[0]
    check(call(client, name)[0], name, {
        **MANAGED,
        "AWS_EXECUTION_ENV": f"AWS_Lambda_{runtime}",
        "NODE_PATH": f"/opt/nodejs/node{major}/node_modules:/opt/nodejs/node_modules:"
                     "/var/runtime/node_modules:/var/runtime:/var/task",
        "_HANDLER": "index.handler",
    })  # fmt: skip


@needs_bash
def test_variables_of_a_runtime_of_its_own(client, function):
    name = function(code.bootstrap(DUMP), Runtime="provided.al2023", Handler="any.thing", **SETTINGS)
    check(dumped(client, name), name, {**PROVIDED, "_HANDLER": "any.thing"})


@needs_bash
def test_variables_of_an_image(client):
    files = {**bash_and_its_libraries(), "app/run": DUMP}
    layer = registry.layer(files, {"bin": "usr/bin"}, {path: 0o755 for path in files})
    with registry.TinyRegistry() as images:
        images.push("dump", [layer], Entrypoint=["/app/run"], Env=["PATH=/bin", "FROM=image"])
        name = create(client, f"{images.name}/app:dump", **SETTINGS)
    check(dumped(client, name), name, {"PATH": "/bin", "FROM": "image"})
    client.delete_function(FunctionName=name)


def test_of_json_logs_the_function_knows(client, function):
    name = function(
        code.PROBE, LoggingConfig={"LogFormat": "JSON", "ApplicationLogLevel": "WARN"}
    )
    got = run_inside(
        client, name, "import os\nresult = [os.environ.get(f'AWS_LAMBDA_LOG_{n}') for n in ('FORMAT', 'LEVEL')]"
    )
    assert got == ["JSON", "WARN"]


@pytest.mark.parametrize(
    "variable",
    ["_HANDLER", "_X_AMZN_TRACE_ID", "AWS_REGION", "AWS_ACCESS_KEY", "AWS_LAMBDA_RUNTIME_API",
     "AWS_LAMBDA_MAX_CONCURRENCY", "AWS_LAMBDA_METADATA_API", "AWS_LAMBDA_METADATA_TOKEN"],
)  # fmt: skip
def test_reserved_variables(client, probe, variable, function):
    name = function(code.PROBE)
    settings = {"FunctionName": name, "Environment": {"Variables": {variable: "mine"}}}
    if variable.startswith("_"):
        # The pattern of names in the model says so before anybody asks what is reserved.
        with pytest.raises(client.exceptions.ClientError) as caught:
            client.update_function_configuration(**settings)
        assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400
        return
    message, status = refused(
        client, "InvalidParameterValueException", "update_function_configuration", **settings
    )
    assert status == 400 and message.endswith(f"Reserved keys used in this request: {variable}")


def test_user_and_limits(probe):
    got = probe(
        """
import getpass, grp, os, pwd, resource
limits = {n: resource.getrlimit(getattr(resource, n)) for n in dir(resource) if n.startswith("RLIMIT_")}
me = pwd.getpwuid(os.getuid())
result = {
    "name": getpass.getuser(), "user": list(me), "group": grp.getgrgid(os.getgid()).gr_name,
    "groups": os.getgroups(), "root": pwd.getpwuid(0).pw_name, "all": len(pwd.getpwall()),
    "limits": {n: list(limits[n]) for n in ("RLIMIT_AS", "RLIMIT_CPU", "RLIMIT_DATA", "RLIMIT_FSIZE",
               "RLIMIT_MEMLOCK", "RLIMIT_NOFILE", "RLIMIT_NPROC", "RLIMIT_RSS", "RLIMIT_STACK")},
}
"""
    )
    assert got["name"] == "sbx_user1051"
    assert got["user"][2:4] == [993, 990]
    assert (got["group"], got["root"], got["all"]) == ("sbx_user1051", "root", 2)
    # As recorded; a core of 10 GiB is the one that differs.
    assert got["limits"] == {
        "RLIMIT_AS": [-1, -1], "RLIMIT_CPU": [-1, -1], "RLIMIT_DATA": [-1, -1],
        "RLIMIT_FSIZE": [-1, -1], "RLIMIT_MEMLOCK": [65536, 65536], "RLIMIT_NOFILE": [1024, 1024],
        "RLIMIT_NPROC": [742, 742], "RLIMIT_RSS": [-1, -1], "RLIMIT_STACK": [8388608, -1],
    }  # fmt: skip


def test_directories_are_whose_they_were_recorded(probe):
    got = probe(
        """
import os
result = {"cwd": os.getcwd()}
for path in ("/var/task", "/opt", "/var/runtime", "/tmp"):
    about = os.stat(path)
    result[path] = [about.st_mode, about.st_uid, about.st_gid]
"""
    )
    assert got.pop("cwd") == "/var/task"
    modes = {path: stat.filemode(mode) for path, (mode, _, _) in got.items()}
    assert modes == {"/var/task": "drwxr-xr-x", "/opt": "drwxr-xr-x", "/var/runtime": "drwxr-xr-x",
                     "/tmp": "drwxrwxrwt"}  # fmt: skip
    # What is the host's belongs to nobody in here; `/tmp` is the sandbox's own.
    assert got["/tmp"][1:] == [0, 0]


def test_files_of_the_system(probe):
    got = probe(
        """
import socket, time, platform
def read(path):
    with open(path) as file:
        return file.read()
result = {
    "hosts": read("/etc/hosts"), "resolv": read("/etc/resolv.conf"), "switch": read("/etc/nsswitch.conf"),
    "release": read("/etc/os-release"), "zone": list(time.tzname), "offset": time.timezone,
    "addresses": [socket.gethostbyname(n) for n in ("localhost", "sandbox.localdomain", "sandbox")],
    "system": platform.freedesktop_os_release()["ID"] if hasattr(platform, "freedesktop_os_release") else None,
}
"""
    )
    assert got["addresses"] == ["127.0.0.1", "169.254.100.1", "169.254.100.1"]
    assert re.search(r"^ID=", got["release"], re.MULTILINE)
    assert (got["zone"][0], got["offset"]) == ("UTC", 0)
    assert all(re.fullmatch(r"nameserver [\d.]+", line) for line in got["resolv"].splitlines())
    assert "hosts: files dns" in got["switch"]


@pytest.mark.parametrize("size", [512, 513, 10240])
def test_tmp_has_the_size_that_was_asked_for(client, function, size):
    name = function(code.PROBE, EphemeralStorage={"Size": size})
    blocks, inodes = run_inside(
        client, name,
        "import os\np = os.statvfs('/tmp')\nresult = [p.f_blocks * p.f_frsize, p.f_files]",
    )  # fmt: skip
    assert blocks == size << 20
    assert 0 < inodes <= size * 1024


def test_tmp_has_no_room_for_files_without_end(client, function):
    name = function(code.PROBE, MemorySize=3008, Timeout=60)
    made, error = run_inside(
        client,
        name,
        """
import errno, os
place, made, error = os.statvfs("/tmp"), 0, None
os.mkdir("/tmp/many")
try:
    while made <= place.f_files:
        os.close(os.open(f"/tmp/many/{made}", os.O_CREAT | os.O_WRONLY))
        made += 1
except OSError as failure:
    error = errno.errorcode[failure.errno]
result = [made, error]
""",
    )
    assert error == "ENOSPC" and made > 100_000


METADATA = """
import http.client, os
def ask(method="GET", path="/2026-01-15/metadata/execution-environment", token=None, scheme="Bearer "):
    connection = http.client.HTTPConnection(os.environ["AWS_LAMBDA_METADATA_API"], timeout=5)
    headers = {} if token is None else {"Authorization": scheme + token}
    connection.request(method, path, headers=headers)
    answer = connection.getresponse()
    return [answer.status, answer.headers.get("content-type"), answer.headers.get("cache-control"),
            answer.read().decode()]
token = os.environ["AWS_LAMBDA_METADATA_TOKEN"]
"""


def test_metadata_are_told_to_whoever_has_the_token(probe):
    good, *refusals = probe(
        METADATA
        + """
result = [ask(token=token), ask(), ask(token="x"), ask(token=token, scheme=""),
          ask(token=token, scheme="bearer "), ask("POST", token=token), ask("PUT"),
          ask(path="/2026-01-15/metadata", token=token)]
"""
    )
    status, kind, cache, body = good
    assert (status, kind, cache) == (200, "application/json", "private, max-age=43200, immutable")
    assert json.loads(body) == {"AvailabilityZoneID": "use1-az1"}
    plain, missing = "text/plain; charset=utf-8", refusals.pop()
    unauthorized = [http.client.UNAUTHORIZED, plain, None, "Unauthorized\n"]
    not_allowed = [http.client.METHOD_NOT_ALLOWED, plain, None, "Method Not Allowed\n"]
    assert refusals == [unauthorized] * 4 + [not_allowed] * 2
    assert missing[0] == 404


def test_the_token_is_the_environments_own(client, function, probe):
    name = function(code.PROBE)
    other = run_inside(client, name, METADATA + "result = token")
    assert probe(METADATA + f"result = [token != {other!r}, ask(token={other!r})[0]]") == [True, 401]


def test_the_zone_is_configured_or_the_regions_first(own_server):
    server = own_server(config='[functions]\navailability_zone = "rack-7"\n')
    assert "rack-7" in run_inside(server.client(), deploy(server.client(), code.PROBE), METADATA + "result = ask(token=token)[3]")  # fmt: skip


def test_nothing_of_the_server_comes_in(probe):
    assert "not for functions" not in probe("import os\nresult = list(os.environ.values())")
