"""What deployment tools call directly, beside CloudFormation: `sam sync --code`, `sam remote
invoke`, `sam logs`, `cdk deploy --hotswap`, and the Serverless Framework's `deploy function`, `logs`
and `prune`."""

import base64
import json
import subprocess

import pytest
from harness import aws, code, place, s3
from harness.functions import call, deploy, fresh_name
from harness.leftovers import wait_until
from harness.refusals import refused

ECHO = "def handler(event, context):\n    print('seen', event)\n    return {!r}\n"


@pytest.fixture
def live(client, function):
    """A function with an alias, as `AutoPublishAlias` makes them."""
    name = function(ECHO.format("old"), Publish=True)
    client.create_alias(FunctionName=name, Name="live", FunctionVersion="1")
    return name


def updated(client, name):
    client.get_waiter("function_updated").wait(FunctionName=name, WaiterConfig={"Delay": 1})


def test_sam_sync_of_code(client, live):
    before = client.get_function(FunctionName=live)["Configuration"]["CodeSha256"]
    client.update_function_code(FunctionName=live, ZipFile=code.python(ECHO.format("new")))
    updated(client, live)
    remote = client.get_function(FunctionName=live)["Configuration"]["CodeSha256"]
    assert remote != before
    version = client.publish_version(FunctionName=live)["Version"]
    client.update_alias(FunctionName=live, Name="live", FunctionVersion=version)
    assert call(client, f"{live}:live")[0] == "new"


def test_sam_sync_of_a_layer(client, function):
    """A new version is published, its users are moved to it, and the one before goes."""
    name = fresh_name("dependencies")

    def publish(text):
        return client.publish_layer_version(
            LayerName=name, Content={"ZipFile": code.zipped({"text": text})}, Description="by the tool",
            CompatibleRuntimes=[place.python_runtime()],
        )  # fmt: skip

    old = publish("old")
    user = function(
        "def handler(event, context):\n    return open('/opt/text').read()\n", Layers=[old["LayerVersionArn"]]
    )
    assert call(client, user)[0] == "old"
    listed = client.list_layer_versions(LayerName=name)["LayerVersions"]
    assert listed[0]["LayerVersionArn"] == old["LayerVersionArn"]
    digest = client.get_layer_version(LayerName=name, VersionNumber=old["Version"])["Content"]["CodeSha256"]
    new = publish("new")
    assert new["Content"]["CodeSha256"] != digest
    client.delete_layer_version(LayerName=name, VersionNumber=old["Version"])
    layers = client.get_function(FunctionName=user)["Configuration"]["Layers"]
    assert [one["Arn"] for one in layers] == [old["LayerVersionArn"]]
    client.update_function_configuration(FunctionName=user, Layers=[new["LayerVersionArn"]])
    updated(client, user)
    assert call(client, user)[0] == "new"
    client.delete_layer_version(LayerName=name, VersionNumber=new["Version"])


def test_sam_remote_invoke(client, live):
    arn = client.get_function(FunctionName=live)["Configuration"]["FunctionArn"]
    # Whether to stream is asked of the URL, of which there may be none.
    refused(client, "ResourceNotFoundException", "get_function_url_config", FunctionName=arn)
    assert "DurableConfig" not in client.get_function_configuration(FunctionName=arn)
    done = client.invoke(FunctionName=arn, Payload='{"a": 1}', InvocationType="RequestResponse", LogType="Tail")
    log = base64.b64decode(done["LogResult"]).decode()
    assert "seen {'a': 1}" in log and "REPORT RequestId: " in log
    assert json.loads(done["Payload"].read()) == "old"

    client.create_function_url_config(FunctionName=arn, AuthType="NONE", InvokeMode="RESPONSE_STREAM")
    assert client.get_function_url_config(FunctionName=arn)["InvokeMode"] == "RESPONSE_STREAM"
    stream = client.invoke_with_response_stream(FunctionName=arn, Payload="{}", LogType="Tail")["EventStream"]
    chunks, ends = [], []
    for event in stream:
        chunks += [event["PayloadChunk"]["Payload"]] if "PayloadChunk" in event else []
        ends += [event["InvokeComplete"]] if "InvokeComplete" in event else []
    assert b"".join(chunks) == b'"old"'
    assert "REPORT RequestId: " in base64.b64decode(ends[0]["LogResult"]).decode()


def test_sam_logs(client, logs, live):
    group = f"/aws/lambda/{live}"
    call(client, live, {"a": 1})

    def streams():
        try:
            return logs.describe_log_streams(logGroupName=group, limit=1)["logStreams"]
        except logs.exceptions.ResourceNotFoundException:
            return []

    wait_until(streams, "a stream")
    at = {"logGroupName": group, "interleaved": True, "startTime": 0, "endTime": 10**13}
    seen = wait_until(
        lambda: logs.filter_log_events(**at, filterPattern='"seen"')["events"], "the line of the function"
    )
    assert [one["message"].strip() for one in seen] == ["seen {'a': 1}"]
    every = logs.filter_log_events(**at)
    assert {"eventId", "ingestionTime", "timestamp", "logStreamName", "message"} == set(every["events"][0])
    # What a poll for later lines begins with.
    later = {**at, "startTime": every["events"][-1]["timestamp"] + 1}
    assert logs.filter_log_events(**later)["events"] == []


def test_cdk_hotswap(own_server):
    """Assets come from the bucket of the bootstrap stack; an alias follows its version."""
    with s3.TinyS3() as bucket:
        client = own_server(
            config=f'[s3]\nendpoint = "{bucket.endpoint}"\nregion = "{s3.REGION}"\n'
            f'access_key = "{s3.KEY}"\nsecret = "{s3.SECRET}"\n'
        ).client()
        name = deploy(client, ECHO.format("old"), Publish=True)
        client.create_alias(FunctionName=name, Name="current", FunctionVersion="1")
        asset = ("cdk-hnb659fds-assets-000000000000-us-east-1", "0123456789abcdef.zip")
        bucket.put(*asset, code.python("import os\ndef handler(e, c):\n    return os.environ['LAMP']\n"))
        client.update_function_code(FunctionName=name, S3Bucket=asset[0], S3Key=asset[1])
        client.get_waiter("function_updated_v2").wait(FunctionName=name)
        client.update_function_configuration(FunctionName=name, Environment={"Variables": {"LAMP": "new"}})
        client.get_waiter("function_updated_v2").wait(FunctionName=name)
        version = client.publish_version(FunctionName=name)["Version"]
        client.update_alias(FunctionName=name, Name="current", FunctionVersion=version)
        assert call(client, f"{name}:current")[0] == "new"


def test_serverless_deploy_of_a_function(client, live):
    """Code only where its digest differs, settings only where they do."""
    package = code.python(ECHO.format("new"))
    before = client.get_function(FunctionName=live)["Configuration"]
    again = client.update_function_code(FunctionName=live, ZipFile=code.python(ECHO.format("old")), DryRun=True)
    assert again["CodeSha256"] == before["CodeSha256"]
    client.update_function_configuration(
        FunctionName=live, Handler="app.handler", Timeout=6, MemorySize=256, Role=aws.ROLE,
        Runtime=place.python_runtime(), Environment={"Variables": {"STAGE": "dev"}},
    )  # fmt: skip
    updated(client, live)
    client.update_function_code(FunctionName=live, ZipFile=package)
    updated(client, live)
    after = client.get_function(FunctionName=live)["Configuration"]
    assert (after["Timeout"], after["MemorySize"], after["CodeSize"]) == (6, 256, len(package))
    assert call(client, live)[0] == "new"


def test_serverless_prune(client, live):
    """All versions but the newest two, and those that aliases need."""
    for number in range(2, 7):
        client.update_function_configuration(FunctionName=live, Description=str(number))
        updated(client, live)
        assert client.publish_version(FunctionName=live)["Version"] == str(number)
    pages = client.get_paginator("list_versions_by_function").paginate(
        FunctionName=live, PaginationConfig={"PageSize": 3}
    )
    versions = [one["Version"] for page in pages for one in page["Versions"]]
    assert versions == ["$LATEST", "1", "2", "3", "4", "5", "6"]
    needed = {one["FunctionVersion"] for one in client.list_aliases(FunctionName=live)["Aliases"]}
    for version in versions[1:-2]:
        if version not in needed:
            client.delete_function(FunctionName=live, Qualifier=version)
    left = client.list_versions_by_function(FunctionName=live)["Versions"]
    assert [one["Version"] for one in left] == ["$LATEST", "1", "5", "6"]
    assert call(client, f"{live}:live")[0] == "old"
    message, _ = refused(client, "ResourceConflictException", "delete_function", FunctionName=live, Qualifier="1")
    assert "live" in message


@pytest.mark.parametrize(
    "waiter",
    ["function-active", "function-active-v2", "function-exists", "function-updated", "function-updated-v2"],
)
def test_command_line_waits(server, function, waiter):
    name = function(ECHO.format(""))
    aws.cli(server, "lambda", "wait", waiter, "--function-name", name)


def test_command_line_waits_for_a_version(server, live):
    aws.cli(server, "lambda", "wait", "published-version-active", "--function-name", live, "--qualifier", "1")


def test_no_waiter_is_forgotten(client):
    assert sorted(client.waiter_names) == [
        "function_active", "function_active_v2", "function_exists", "function_updated",
        "function_updated_v2", "published_version_active",
    ]  # fmt: skip


def test_command_line_waits_for_what_comes(server, client, function):
    """The waiter begins before there is a function, and ends once there is."""
    name = fresh_name()
    waiting = subprocess.Popen(
        [place.aws_v1(), "lambda", "wait", "function-exists", "--function-name", name],
        env=aws.cli_environment(server), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    try:
        refused(client, "ResourceNotFoundException", "get_function", FunctionName=name)
        function(ECHO.format(""), FunctionName=name)
        text, _ = waiting.communicate(timeout=60)
    finally:
        waiting.kill()
        waiting.wait()
    assert waiting.returncode == 0, text


def test_command_line_gives_up(server):
    """A waiter for a state ends at once, and not after five minutes, where there is no function."""
    for waiter in ("function-active", "function-updated-v2"):
        done = aws.cli(server, "lambda", "wait", waiter, "--function-name", "nothing", check=False)
        assert done.returncode == 255
        assert "ResourceNotFoundException" in done.stderr
