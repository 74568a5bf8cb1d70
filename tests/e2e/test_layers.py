"""Layers: published, listed, permitted, laid over each other, and kept while a function runs them."""

import base64
import hashlib
import json
import urllib.request

import pytest
from botocore.exceptions import ClientError
from harness import aws, code, place
from harness.functions import call, deploy, fresh_name

ARN = f"arn:aws:lambda:us-east-1:{aws.ACCOUNT}:layer:"
MISSING = "The resource you requested does not exist."


@pytest.fixture
def publish(client):
    """A maker of layer versions: `publish(files, name=…, modes=…, **settings)`."""
    made = []

    def make(files, name=None, modes=None, **settings):
        version = client.publish_layer_version(
            LayerName=name or fresh_name("layer"),
            Content={"ZipFile": code.zipped(files, modes)},
            **settings,
        )
        made.append((version["LayerArn"], version["Version"]))
        return version

    yield make
    for name, number in made:
        client.delete_layer_version(LayerName=name, VersionNumber=number)


def refused(status, error, message, call, **arguments):
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    answer = caught.value.response
    assert answer["Error"]["Code"] == error
    assert answer["Error"]["Message"] == message
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == status


def settle(client, name):
    client.get_waiter("function_updated_v2").wait(
        FunctionName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 60}
    )


def test_a_version_is_shown_as_it_was_published(client, publish):
    files = {"python/tool.py": "answer = 42\n"}
    name = fresh_name("layer")
    published = publish(
        files,
        name,
        Description="tools",
        CompatibleRuntimes=["python3.12", "python3.11"],
        CompatibleArchitectures=["x86_64"],
        LicenseInfo="MIT",
    )
    assert published["ResponseMetadata"]["HTTPStatusCode"] == 201
    package = code.zipped(files)
    content = published["Content"]
    assert content["CodeSize"] == len(package)
    digest = base64.b64encode(hashlib.sha256(package).digest()).decode()
    assert content["CodeSha256"] == digest
    with urllib.request.urlopen(content["Location"]) as downloaded:
        assert downloaded.read() == package
    assert published["LayerArn"] == ARN + name
    assert published["LayerVersionArn"] == f"{ARN}{name}:1"
    assert published["CreatedDate"].endswith("+0000")

    def plain(answer):
        """Without what differs between answers."""
        content = {k: v for k, v in answer["Content"].items() if k != "Location"}
        return {**answer, "Content": content, "ResponseMetadata": None}

    for answer in (
        client.get_layer_version(LayerName=name, VersionNumber=1),
        client.get_layer_version(LayerName=ARN + name, VersionNumber=1),
        client.get_layer_version_by_arn(Arn=f"{ARN}{name}:1"),
    ):
        assert plain(answer) == plain(published)
    assert published["CompatibleRuntimes"] == ["python3.12", "python3.11"]
    assert published["LicenseInfo"] == "MIT"


def test_optional_members_are_absent_when_not_given(publish):
    published = publish({"file": "x"})
    assert published["Description"] == ""
    for absent in ("CompatibleRuntimes", "CompatibleArchitectures", "LicenseInfo"):
        assert absent not in published


def test_versions_count_up_and_listings_page(client, publish):
    name, other = fresh_name("layer"), fresh_name("layer")
    first = publish({"file": "1"}, name, CompatibleRuntimes=["python3.11"])
    publish({"file": "2"}, name)
    publish({"file": "3"}, name, CompatibleArchitectures=["arm64"])
    publish({"file": "4"}, other, CompatibleRuntimes=["python3.11"])
    deleted = client.delete_layer_version(LayerName=name, VersionNumber=3)
    assert deleted["ResponseMetadata"]["HTTPStatusCode"] == 204
    again = client.delete_layer_version(LayerName=name, VersionNumber=3)
    assert again["ResponseMetadata"]["HTTPStatusCode"] == 204
    assert publish({"file": "3"}, name)["Version"] == 4

    def numbers(**arguments):
        pages = client.get_paginator("list_layer_versions").paginate(LayerName=name, **arguments)
        return [version["Version"] for page in pages for version in page["LayerVersions"]]

    assert numbers() == [4, 2, 1]
    assert numbers(PaginationConfig={"PageSize": 1}) == [4, 2, 1]
    assert numbers(CompatibleRuntime="python3.11") == [1]
    assert client.list_layer_versions(LayerName="no-such-layer")["LayerVersions"] == []

    def latest(**arguments):
        pages = client.get_paginator("list_layers").paginate(**arguments)
        layers = [layer for page in pages for layer in page["Layers"]]
        return {x["LayerName"]: x for x in layers if x["LayerName"] in (name, other)}

    everything = latest(PaginationConfig={"PageSize": 1})
    assert {n: x["LatestMatchingVersion"]["Version"] for n, x in everything.items()} == {
        name: 4,
        other: 1,
    }
    assert everything[name]["LayerArn"] == ARN + name
    matching = latest(CompatibleRuntime="python3.11")[name]["LatestMatchingVersion"]
    kept = ("LayerVersionArn", "Version", "Description", "CreatedDate", "CompatibleRuntimes")
    assert matching == {member: first[member] for member in kept}
    assert latest(CompatibleRuntime="python3.11", CompatibleArchitecture="arm64") == {}


def test_refusals_are_in_awss_words(client, publish):
    name = publish({"file": "1"})["LayerArn"].rsplit(":", 1)[1]
    get, by_arn = client.get_layer_version, client.get_layer_version_by_arn
    below = (400, "InvalidParameterValueException", "Layer Version Cannot be less than 1")
    refused(*below, get, LayerName=name, VersionNumber=-1)
    refused(*below, client.delete_layer_version, LayerName=name, VersionNumber=0)
    absent = (404, "ResourceNotFoundException", MISSING)
    refused(*absent, get, LayerName=name, VersionNumber=2)
    refused(*absent, get, LayerName="no-such-layer", VersionNumber=1)
    refused(*absent, by_arn, Arn=f"{ARN}{name}:2")
    with pytest.raises(ClientError, match="at 'arn' failed to satisfy constraint"):
        by_arn(Arn=ARN + name)
    with pytest.raises(ClientError, match="Could not unzip uploaded file"):
        client.publish_layer_version(LayerName=name, Content={"ZipFile": b"no zip"})
    with pytest.raises(ClientError, match="at 'compatibleRuntimes' failed"):
        client.publish_layer_version(
            LayerName=name,
            Content={"ZipFile": code.zipped({"f": ""})},
            CompatibleRuntimes=["invalidruntime"],
            CompatibleArchitectures=["invalidarch"],
        )
    with pytest.raises(ClientError, match="Value 'archdoesnotexist' at 'compatibleArchitecture'"):
        client.list_layers(CompatibleArchitecture="archdoesnotexist")
    with pytest.raises(ClientError, match="Value 'runtimedoesnotexist' at 'compatibleRuntime'"):
        client.list_layer_versions(LayerName=name, CompatibleRuntime="runtimedoesnotexist")


def test_functions_refuse_layers_in_awss_words(client, publish, function):
    first = publish({"file": "1"})
    arn, name = first["LayerVersionArn"], first["LayerArn"]
    second = publish({"file": "2"}, name.rsplit(":", 1)[1])["LayerVersionArn"]
    target = function("def handler(event, context): return 1\n")
    change = client.update_function_configuration

    def no(message, layers):
        refused(400, "InvalidParameterValueException", message, change, FunctionName=target, Layers=layers)

    twice = (
        "Two different versions of the same layer are not allowed to be referenced in the same "
        "function. {} and {} are versions of the same layer."
    )
    no(f"Layer version {name}:9 does not exist.", [f"{name}:9"])
    no(f"Layer version {ARN}doesnotexist:1 does not exist.", [f"{ARN}doesnotexist:1"])
    no(twice.format(arn, second), [arn, second])
    no(twice.format(arn, arn), [arn, arn])
    elsewhere = arn.replace("us-east-1", "eu-west-1")
    no(
        "Layers are not in the same region as the function. Layers are expected to be in region us-east-1.",
        [elsewhere],
    )
    six = [publish({"file": str(n)})["LayerVersionArn"] for n in range(6)]
    no("Cannot reference more than 5 layers.", six)
    with pytest.raises(ClientError, match=r"Value '\[.*\]' at 'layers' failed to satisfy"):
        change(FunctionName=target, Layers=[name])
    foreign = arn.replace(aws.ACCOUNT, "111111111111")
    with pytest.raises(ClientError, match="not authorized to perform: lambda:GetLayerVersion"):
        change(FunctionName=target, Layers=[foreign])
    with pytest.raises(ClientError, match="does not exist"):
        deploy(client, "handler = print\n", Layers=[f"{name}:9"])
    assert "Layers" not in client.get_function_configuration(FunctionName=target)
    change(FunctionName=target, Layers=six[:5])
    settle(client, target)


LOOK = """
import os, shared, tool

def handler(event, context):
    return {
        "shared": shared.name,
        "tool": tool.answer,
        "text": open("/opt/text").read(),
        "script": os.popen("hello").read(),
        "opt": sorted(os.listdir("/opt")),
        "writable": os.access("/opt", os.W_OK),
    }
"""


def test_layers_are_laid_over_each_other_in_their_order(client, publish, function):
    site = f"python/lib/{place.python_runtime()}/site-packages"
    low = publish(
        {"text": "low", "python/shared.py": "name = 'low'\n", f"{site}/tool.py": "answer = 42\n"}
    )
    high = publish(
        {
            "text": "high",
            "python/shared.py": "name = 'high'\n",
            "bin/hello": "#!/bin/sh\necho hello\n",
        },
        modes={"bin/hello": 0o755},
    )
    arns = [low["LayerVersionArn"], high["LayerVersionArn"]]
    name = function(LOOK, Layers=arns)
    shown = client.get_function_configuration(FunctionName=name)["Layers"]
    assert shown == [
        {"Arn": layer["LayerVersionArn"], "CodeSize": layer["Content"]["CodeSize"]}
        for layer in (low, high)
    ]
    seen = call(client, name)[0]
    assert seen == {
        "shared": "high",
        "tool": 42,
        "text": "high",
        "script": "hello\n",
        "opt": ["bin", "python", "text"],
        "writable": False,
    }
    client.update_function_configuration(FunctionName=name, Layers=arns[::-1])
    settle(client, name)
    assert call(client, name)[0]["shared"] == "low"


def test_a_function_keeps_a_deleted_version_over_a_restart(own_server):
    server = own_server()
    client = aws.client(server.access())
    layer = client.publish_layer_version(
        LayerName="kept", Content={"ZipFile": code.zipped({"text": "kept"})}
    )
    source = "def handler(event, context): return open('/opt/text').read()\n"
    name = deploy(client, source, Layers=[layer["LayerVersionArn"]])
    client.delete_layer_version(LayerName="kept", VersionNumber=1)
    server.kill()
    server.start()
    client = aws.client(server.access())
    assert call(client, name)[0] == "kept"
    client.update_function_configuration(FunctionName=name, Description="still there")
    settle(client, name)
    assert call(client, name)[0] == "kept"
    again = client.publish_layer_version(
        LayerName="kept", Content={"ZipFile": code.zipped({"text": "new"})}
    )
    assert again["Version"] == 2
    client.update_function_configuration(FunctionName=name, Layers=[])
    settle(client, name)
    assert "Layers" not in client.get_function_configuration(FunctionName=name)
    assert "No such file" in json.dumps(call(client, name)[0])


def test_a_layer_can_bring_the_runtime(client, publish, function):
    runtime = """#!/bin/sh
    api=http://$AWS_LAMBDA_RUNTIME_API/2018-06-01/runtime
    while :; do
      curl -sS -D /tmp/headers -o /tmp/event "$api/invocation/next"
      id=$(grep -i aws-request-id /tmp/headers | tr -d '\\r' | cut -d' ' -f2)
      curl -sS -o /dev/null -d "\\"from the layer\\"" "$api/invocation/$id/response"
    done
    """
    layer = publish({"bootstrap": runtime.replace("\n    ", "\n")}, modes={"bootstrap": 0o755})
    name = function(
        code.zipped({"data": "x"}), Runtime="provided.al2023", Layers=[layer["LayerVersionArn"]]
    )
    assert call(client, name)[0] == "from the layer"


def test_a_wrapper_of_a_layer_starts_the_runtime(client, publish, function):
    wrapper = '#!/bin/sh\nexport WRAPPED="$(basename "$1")"\nexec "$@"\n'
    layer = publish({"wrap": wrapper}, modes={"wrap": 0o755})
    source = "import os\ndef handler(event, context): return os.environ['WRAPPED']\n"
    environment = {"Variables": {"AWS_LAMBDA_EXEC_WRAPPER": "/opt/wrap"}}
    name = function(source, Layers=[layer["LayerVersionArn"]], Environment=environment)
    assert call(client, name)[0].startswith("python")
    environment["Variables"]["AWS_LAMBDA_EXEC_WRAPPER"] = "/opt/none"
    client.update_function_configuration(FunctionName=name, Environment=environment)
    settle(client, name)
    answer = call(client, name)[0]
    assert answer["errorType"] == "Runtime.ExitError"
    assert answer["errorMessage"].endswith("Error: Runtime exited with error: exit status 127")


def test_permissions_are_kept_and_guarded(client, publish):
    layer = publish({"file": "1"})
    name = layer["LayerArn"].rsplit(":", 1)[1]
    at = {"LayerName": name, "VersionNumber": 1}
    statement = {"Action": "lambda:GetLayerVersion", "Principal": "*"}
    add, get, remove = (
        client.add_layer_version_permission,
        client.get_layer_version_policy,
        client.remove_layer_version_permission,
    )
    no_policy = "No policy is associated with the given resource."
    refused(404, "ResourceNotFoundException", no_policy, get, **at)
    first = add(**at, **statement, StatementId="s1")
    assert first["ResponseMetadata"]["HTTPStatusCode"] == 201
    expected = {
        "Sid": "s1",
        "Effect": "Allow",
        "Principal": "*",
        "Action": "lambda:GetLayerVersion",
        "Resource": layer["LayerVersionArn"],
    }
    assert json.loads(first["Statement"]) == expected
    policy = get(**at)
    assert policy["RevisionId"] == first["RevisionId"]
    assert json.loads(policy["Policy"]) == {
        "Version": "2012-10-17",
        "Id": "default",
        "Statement": [expected],
    }
    exists = "The statement id (s1) provided already exists. Please provide a new statement id, or remove the existing statement."
    refused(409, "ResourceConflictException", exists, add, **at, **statement, StatementId="s1")
    stale = "The Revision Id provided does not match the latest Revision Id. Call the GetLayerPolicy API to retrieve the latest Revision Id"
    guarded = {"StatementId": "s2", "RevisionId": "stale"}
    refused(412, "PreconditionFailedException", stale, add, **at, **statement, **guarded)
    second = add(
        **at,
        Action="lambda:GetLayerVersion",
        Principal="111111111111",
        StatementId="s2",
        RevisionId=first["RevisionId"],
    )
    root = {"AWS": "arn:aws:iam::111111111111:root"}
    assert json.loads(second["Statement"])["Principal"] == root
    organized = add(**at, **statement, StatementId="s3", OrganizationId="o-1234567890")
    condition = {"StringEquals": {"aws:PrincipalOrgID": "o-1234567890"}}
    assert json.loads(organized["Statement"])["Condition"] == condition
    refused(
        404,
        "ResourceNotFoundException",
        "Statement doesnotexist is not found in resource policy.",
        remove,
        **at,
        StatementId="doesnotexist",
    )
    refused(412, "PreconditionFailedException", stale, remove, **at, **guarded)
    assert remove(**at, StatementId="s1")["ResponseMetadata"]["HTTPStatusCode"] == 204
    remove(**at, StatementId="s2", RevisionId=get(**at)["RevisionId"])
    remove(**at, StatementId="s3")
    refused(404, "ResourceNotFoundException", no_policy, get, **at)

    other = f"Layer version {layer['LayerArn']}-doesnotexist:1 does not exist."
    gone = {"LayerName": name + "-doesnotexist", "VersionNumber": 1}
    refused(404, "ResourceNotFoundException", other, get, **gone)
    number = f"Layer version {layer['LayerArn']}:2 does not exist."
    later = {"LayerName": name, "VersionNumber": 2}
    refused(404, "ResourceNotFoundException", number, add, **later, **statement, StatementId="s")
    refused(404, "ResourceNotFoundException", number, remove, **later, StatementId="s")
    wrong = "1 validation error detected: Value '*' at 'action' failed to satisfy constraint: Member must satisfy regular expression pattern: lambda:GetLayerVersion"
    refused(400, "ValidationException", wrong, add, **at, Principal="*", StatementId="s", Action="*")
