"""The calls that Terraform's AWS provider makes for its Lambda resources, in its order. What is
read twice has to be the same, or every plan would show a change that nobody made."""

import pytest
from harness import aws, code, place
from harness.functions import fresh_name
from harness.leftovers import wait_until
from harness.refusals import content, refused
from harness.steady import settled, twice

HELLO = "def handler(event, context):\n    return 'hello'\n"
QUEUE = f"arn:aws:sqs:us-east-1:{aws.ACCOUNT}"
NOWHERE = {"SubnetIds": [], "SecurityGroupIds": [], "Ipv6AllowedForDualStack": False, "VpcId": ""}


def read_function(client, name):
    function = content(client.get_function(FunctionName=name))
    function["Code"].pop("Location")  # Signed anew each time.
    pages = client.get_paginator("list_versions_by_function").paginate(FunctionName=name, MaxItems=10_000)
    versions = [one["Version"] for page in pages for one in page["Versions"]]
    signing = content(client.get_function_code_signing_config(FunctionName=name))
    return function, versions[-1], signing


@pytest.fixture
def resource(client):
    """An `aws_lambda_function` with all its blocks, and its name."""
    name = fresh_name("tf")
    blocks = {
        "DeadLetterConfig": {"TargetArn": f"{QUEUE}:dead"},
        "Environment": {"Variables": {"LAMP": "on"}},
        "EphemeralStorage": {"Size": 1024},
        "FileSystemConfigs": [{"Arn": f"arn:aws:elasticfilesystem:us-east-1:{aws.ACCOUNT}:access-point/fsap-0123456789abcdef0", "LocalMountPath": "/mnt/a"}],
        "KMSKeyArn": f"arn:aws:kms:us-east-1:{aws.ACCOUNT}:key/k",
        "LoggingConfig": {"LogFormat": "JSON", "ApplicationLogLevel": "DEBUG", "SystemLogLevel": "WARN", "LogGroup": "/lamps"},
        "SnapStart": {"ApplyOn": "None"},
        "TracingConfig": {"Mode": "Active"},
        "VpcConfig": {"SubnetIds": ["subnet-1"], "SecurityGroupIds": ["sg-1"], "Ipv6AllowedForDualStack": True},
    }  # fmt: skip
    # Without a TenancyConfig: AWS has neither mappings nor URLs of functions with tenants.
    client.create_function(
        FunctionName=name, Role=aws.ROLE, Runtime=place.python_runtime(), Handler="app.handler", Description="d",
        Architectures=[place.architecture()], Timeout=5, MemorySize=128, PackageType="Zip", Publish=False,
        Code={"ZipFile": code.python(HELLO)}, Tags={"made": "here"}, **blocks,
    )  # fmt: skip
    settled(client, name)
    yield name, blocks
    try:
        client.delete_function(FunctionName=name)
    except client.exceptions.ResourceNotFoundException:
        pass


def test_function(client, resource):
    name, blocks = resource
    function, last, signing = twice(lambda: read_function(client, name))
    settings = function["Configuration"]
    for block in ("DeadLetterConfig", "Environment", "EphemeralStorage", "FileSystemConfigs", "KMSKeyArn",
                  "LoggingConfig", "TracingConfig"):  # fmt: skip
        assert settings[block] == blocks[block]
    assert settings["SnapStart"] == {"ApplyOn": "None", "OptimizationStatus": "Off"}
    assert {**settings["VpcConfig"], "VpcId": ""} == {**blocks["VpcConfig"], "VpcId": ""}
    assert settings["VpcConfig"]["VpcId"].startswith("vpc-")
    assert (function["Tags"], last, signing) == ({"made": "here"}, "$LATEST", {})

    arn = settings["FunctionArn"]
    client.tag_resource(Resource=arn, Tags={"changed": "too"})
    client.untag_resource(Resource=arn, TagKeys=["made"])
    # How the provider takes blocks away.
    client.update_function_configuration(
        FunctionName=name, Role=aws.ROLE, Handler="app.handler", Runtime=place.python_runtime(), Timeout=6,
        DeadLetterConfig={"TargetArn": ""}, Environment={"Variables": {}}, FileSystemConfigs=[], KMSKeyArn="",
        LoggingConfig={"LogFormat": "Text"}, TracingConfig={"Mode": "PassThrough"}, Layers=[],
        VpcConfig={"SubnetIds": [], "SecurityGroupIds": []},
    )  # fmt: skip
    settled(client, name)
    client.update_function_code(FunctionName=name, ZipFile=code.python(HELLO + "#"), Architectures=[place.architecture()])
    settled(client, name)
    function, _, _ = twice(lambda: read_function(client, name))
    settings = function["Configuration"]
    assert settings["VpcConfig"] == NOWHERE
    assert settings["LoggingConfig"] == {"LogFormat": "Text", "LogGroup": "/lamps"}
    assert settings["Environment"] == {"Variables": {}}
    assert (settings["Timeout"], settings["TracingConfig"]) == (6, {"Mode": "PassThrough"})
    assert not {"DeadLetterConfig", "FileSystemConfigs", "KMSKeyArn"} & set(settings)
    assert function["Tags"] == {"changed": "too"}

    client.delete_function(FunctionName=name)
    for operation in ("get_function", "delete_function", "get_function_code_signing_config"):
        refused(client, "ResourceNotFoundException", operation, FunctionName=name)


def test_function_with_versions(client, function):
    name = function(HELLO, Publish=True)
    assert twice(lambda: read_function(client, name))[1] == "1"


def test_event_source_mapping(access, client, resource):
    name, _ = resource
    aws.client(access, "sqs").create_queue(QueueName=name)
    uuid = client.create_event_source_mapping(
        FunctionName=name, EventSourceArn=f"{QUEUE}:{name}", Enabled=True, BatchSize=5, Tags={"a": "b"},
        ScalingConfig={"MaximumConcurrency": 3},
    )["UUID"]  # fmt: skip

    def read():
        shown = content(client.get_event_source_mapping(UUID=uuid))
        return shown, client.list_tags(Resource=shown["EventSourceMappingArn"])["Tags"]

    def wait(*states):
        wait_until(lambda: read()[0]["State"] in states, f"{uuid} to be {states}")

    wait("Enabled", "Disabled")
    shown, tags = twice(read)
    assert (shown["State"], shown["BatchSize"], shown["ScalingConfig"], tags) == ("Enabled", 5, {"MaximumConcurrency": 3}, {"a": "b"})
    client.update_event_source_mapping(UUID=uuid, FunctionName=name, Enabled=False, BatchSize=6, ScalingConfig={})
    wait("Enabled", "Disabled")
    shown, _ = twice(read)
    assert (shown["State"], shown["BatchSize"]) == ("Disabled", 6)
    assert "ScalingConfig" not in shown
    client.delete_event_source_mapping(UUID=uuid)

    def gone():
        try:
            client.get_event_source_mapping(UUID=uuid)
        except client.exceptions.ResourceNotFoundException:
            return True

    wait_until(gone, "the mapping to be gone")


def test_function_url(client, resource):
    name, _ = resource
    cors = {"AllowOrigins": ["*"], "MaxAge": 60}
    client.create_function_url_config(FunctionName=name, AuthType="NONE", InvokeMode="BUFFERED", Cors=cors)
    client.add_permission(
        FunctionName=name, StatementId="FunctionURLAllowPublicAccess", Action="lambda:InvokeFunctionUrl",
        Principal="*", FunctionUrlAuthType="NONE",
    )  # fmt: skip
    shown = twice(lambda: content(client.get_function_url_config(FunctionName=name)))
    assert (shown["Cors"], shown["AuthType"]) == (cors, "NONE")
    client.update_function_url_config(FunctionName=name, AuthType="AWS_IAM", Cors={}, InvokeMode="RESPONSE_STREAM")
    changed = twice(lambda: content(client.get_function_url_config(FunctionName=name)))
    assert (changed["AuthType"], changed["InvokeMode"], changed["FunctionUrl"]) == ("AWS_IAM", "RESPONSE_STREAM", shown["FunctionUrl"])
    assert "Cors" not in changed
    client.delete_function_url_config(FunctionName=name)
    refused(client, "ResourceNotFoundException", "get_function_url_config", FunctionName=name)


def test_function_event_invoke_config(client, resource):
    name, _ = resource
    destination = {"OnFailure": {"Destination": f"{QUEUE}:failures"}}
    client.put_function_event_invoke_config(
        FunctionName=name, MaximumRetryAttempts=0, MaximumEventAgeInSeconds=60, DestinationConfig=destination
    )

    def read():
        return content(client.get_function_event_invoke_config(FunctionName=name))

    assert twice(read)["DestinationConfig"] == {**destination, "OnSuccess": {}}
    client.put_function_event_invoke_config(FunctionName=name, MaximumRetryAttempts=2)
    changed = twice(read)
    assert (changed["MaximumRetryAttempts"], changed["DestinationConfig"]) == (2, {"OnSuccess": {}, "OnFailure": {}})
    client.delete_function_event_invoke_config(FunctionName=name)
    refused(client, "ResourceNotFoundException", "get_function_event_invoke_config", FunctionName=name)
