"""Functions with SnapStart: their credentials are fetched, and their hooks run.

Python from 3.12 on has SnapStart, which the machine may lack; Java from 11 on has it as well, and a
wrapper makes a Java function run AWS's client for Python.
"""

import datetime
import functools
import importlib.util
import io
import pathlib
import zipfile

import pytest
from harness import code, java
from harness.cli import lamplight
from harness.functions import call, deploy, fresh_name, run_inside
from test_role_credentials import package as with_boto3

RUNTIME = next(iter(sorted(java.jdks())), None)
MISSING = java.missing() or (
    "" if importlib.util.find_spec("awslambdaric") else "awslambdaric is not there: see .venv/missing"
)
pytestmark = pytest.mark.skipif(bool(MISSING), reason=MISSING or "-")

WRAPPER = "#!/bin/sh\nexec /usr/bin/python3 -m awslambdaric app.handler\n"
HOOKS = """
import os, snapshot_restore_py
seen = []
snapshot_restore_py.register_before_snapshot(seen.append, "before")
snapshot_restore_py.register_after_restore(seen.append, "after")
"""
# What an HTTP request for the credentials gets, with several tokens.
FETCH = """
import json, os, urllib.error, urllib.request
uri, token = os.environ["AWS_CONTAINER_CREDENTIALS_FULL_URI"], os.environ["AWS_CONTAINER_AUTHORIZATION_TOKEN"]
def fetch(token, uri=uri):
    headers = {"Authorization": token} if token is not None else {}
    try:
        answer = urllib.request.urlopen(urllib.request.Request(uri, headers=headers))
        return [answer.status, json.load(answer)]
    except urllib.error.HTTPError as error:
        return [error.code, error.read().decode()]
elsewhere = "http://%s/2021-04-23/credentials" % os.environ["AWS_LAMBDA_RUNTIME_API"]
result = [fetch(token), fetch(token, elsewhere), fetch(None), fetch("x" + token), fetch("Bearer " + token)]
"""
WHO = """
import boto3
session = boto3.Session()
credentials = session.get_credentials()
result = [credentials.method, session.client("sts").get_caller_identity()["Arn"]]
"""


def unzipped(package):
    with zipfile.ZipFile(io.BytesIO(package)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@functools.cache
def package():
    """The probe as AWS's client for Python runs it, with boto3."""
    site = pathlib.Path(importlib.util.find_spec("awslambdaric").origin).parent.parent
    names = ["awslambdaric", "snapshot_restore_py.py", "simplejson"]
    names += [path.name for path in site.glob("runtime_client.*.so")]
    files = code.tree(site, *names)
    return code.zipped({**unzipped(with_boto3()), **files, "app.py": HOOKS + code.PROBE,
                        "wrap": WRAPPER}, {"wrap": 0o755})  # fmt: skip


def published(client, name):
    version = client.publish_version(FunctionName=name)["Version"]
    client.get_waiter("published_version_active").wait(
        FunctionName=name, Qualifier=version, WaiterConfig={"Delay": 1}
    )
    return version


@pytest.fixture(scope="module")
def snapped(client, server):
    """(the function, its first version)"""
    lamplight("runtime", "install", RUNTIME, "--jars", java.JARS, "--data-dir", server.data_dir)
    name = deploy(client, package(), FunctionName=fresh_name("snap"), Runtime=RUNTIME,
                  MemorySize=512, Timeout=60, SnapStart={"ApplyOn": "PublishedVersions"},
                  Environment={"Variables": {"AWS_LAMBDA_EXEC_WRAPPER": "/var/task/wrap"}})  # fmt: skip
    version = published(client, name)
    yield name, f"{name}:{version}"
    client.delete_function(FunctionName=name)
    lamplight("runtime", "remove", RUNTIME, "--data-dir", server.data_dir)


def variables(client, name):
    python = "import os; result = {k: v for k, v in os.environ.items() if k.startswith('AWS_')}"
    return run_inside(client, name, python)


KEYS = {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"}
FETCHED = {"AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_CONTAINER_AUTHORIZATION_TOKEN"}


def test_versions_fetch_what_others_are_told(client, snapped):
    latest, version = snapped
    found = variables(client, latest)
    assert found.keys() & (KEYS | FETCHED) == KEYS
    assert found["AWS_LAMBDA_INITIALIZATION_TYPE"] == "on-demand"
    found = variables(client, version)
    assert found.keys() & (KEYS | FETCHED) == FETCHED
    assert found["AWS_LAMBDA_INITIALIZATION_TYPE"] == "snap-start"


def test_only_the_token_opens_the_credentials(client, snapped):
    good, beside, *bad = run_inside(client, snapped[1], FETCH)
    for status, fetched in (good, beside):
        assert status == 200
        assert sorted(fetched) == ["AccessKeyId", "Expiration", "SecretAccessKey", "Token"]
        expires = datetime.datetime.fromisoformat(fetched["Expiration"].replace("Z", "+00:00"))
        left = expires - datetime.datetime.now(datetime.timezone.utc)
        # An environment lives for six hours.
        assert left > datetime.timedelta(hours=6)
    assert good[1]["AccessKeyId"] != beside[1]["AccessKeyId"], "they are renewed"
    assert bad == [[404, "cannot get credentials for the provided token\n"]] * 3


def test_boto3_fetches_them(client, snapped):
    method, arn = run_inside(client, snapped[1], WHO)
    assert method == "container-role"
    assert arn.endswith(f"/{snapped[0]}")
    assert run_inside(client, snapped[0], WHO)[0] == "env"


def test_hooks_run_around_the_snapshot_of_a_version(client, snapped):
    assert run_inside(client, snapped[1], "import app; result = app.seen") == ["before", "after"]
    assert run_inside(client, snapped[0], "import app; result = app.seen") == []


def test_a_hook_that_fails_is_a_failed_start(client, snapped):
    source = HOOKS + "snapshot_restore_py.register_after_restore(int, 'x')\n" + code.PROBE
    files = {**unzipped(package()), "app.py": source}
    client.update_function_code(FunctionName=snapped[0], ZipFile=code.zipped(files, {"wrap": 0o755}))
    client.get_waiter("function_updated_v2").wait(FunctionName=snapped[0], WaiterConfig={"Delay": 1})
    version = published(client, snapped[0])
    payload, answer = call(client, f"{snapped[0]}:{version}")
    assert answer["FunctionError"] == "Unhandled"
    assert payload["errorType"] == "ValueError"
