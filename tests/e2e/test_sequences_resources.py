"""The calls that Terraform's AWS provider makes for its smaller Lambda resources, also those of
newer providers than one finds installed. `test_terraform.py` has the larger ones, and
`test_sequences_terraform.py` has Terraform itself."""

import json

import pytest
from harness import aws, code, place
from harness.functions import fresh_name
from harness.leftovers import wait_until
from harness.refusals import content, refused
from harness.steady import settled, twice

HELLO = "def handler(event, context):\n    return event\n"
PROFILE = f"arn:aws:signer:us-east-1:{aws.ACCOUNT}:/signing-profiles/lamp/0123456789"


@pytest.fixture
def published(client, function):
    name = function(HELLO, Publish=True)
    settled(client, f"{name}:1")
    return name


def statement(client, sid, **named):
    """How the provider reads a permission: the policy as text, then the statement by its id."""
    policy = json.loads(client.get_policy(**named)["Policy"])
    found = [one for one in policy["Statement"] if one["Sid"] == sid]
    return found[0] if found else None


def test_reserved_concurrency(client, published):
    named = {"FunctionName": published}
    for reserved in (5, 0):
        client.put_function_concurrency(**named, ReservedConcurrentExecutions=reserved)
        shown = twice(lambda: content(client.get_function(**named))["Concurrency"])
        assert shown == {"ReservedConcurrentExecutions": reserved}
    client.delete_function_concurrency(**named)
    assert "Concurrency" not in client.get_function(**named)


def test_publishing_after_an_update(client, published):
    """`publish = true`: the version is awaited by its number, and is then the last of the list."""
    client.update_function_code(FunctionName=published, ZipFile=code.python(HELLO + "#"))
    settled(client, published)
    version = client.publish_version(FunctionName=published)["Version"]
    client.get_waiter("function_updated").wait(FunctionName=published, WaiterConfig={"Delay": 1})
    client.get_waiter("function_active_v2").wait(FunctionName=published, Qualifier=version)
    pages = client.get_paginator("list_versions_by_function").paginate(FunctionName=published, MaxItems=10_000)
    listed = twice(lambda: [one["Version"] for page in pages for one in page["Versions"]])
    assert (version, listed) == ("2", ["$LATEST", "1", "2"])


def test_alias(client, published):
    named = {"FunctionName": published, "Name": "live"}
    client.create_alias(**named, FunctionVersion="1", Description="blue")

    def read():
        return content(client.get_alias(**named))

    assert twice(read)["Description"] == "blue"
    client.update_function_configuration(FunctionName=published, Description="another")
    settled(client, published)
    assert client.publish_version(FunctionName=published)["Version"] == "2"
    client.update_alias(
        **named, FunctionVersion="1", Description="", RoutingConfig={"AdditionalVersionWeights": {"2": 0.5}}
    )
    shown = twice(read)
    assert (shown["Description"], shown["RoutingConfig"]) == ("", {"AdditionalVersionWeights": {"2": 0.5}})
    client.update_alias(**named, FunctionVersion="2", RoutingConfig={"AdditionalVersionWeights": {}})
    shown = twice(read)
    assert (shown["FunctionVersion"], "RoutingConfig" in shown) == ("2", False)
    client.delete_alias(**named)
    refused(client, "ResourceNotFoundException", "get_alias", **named)
    client.delete_alias(**named)


def test_permission(client, published):
    named = {"FunctionName": published}
    client.add_permission(
        **named, StatementId="bucket", Action="lambda:InvokeFunction", Principal="s3.amazonaws.com",
        SourceArn="arn:aws:s3:::bucket", SourceAccount=aws.ACCOUNT,
    )  # fmt: skip
    shown = twice(lambda: statement(client, "bucket", **named))
    assert shown["Condition"] == {
        "StringEquals": {"AWS:SourceAccount": aws.ACCOUNT},
        "ArnLike": {"AWS:SourceArn": "arn:aws:s3:::bucket"},
    }
    client.add_permission(**named, StatementId="other", Action="lambda:GetFunction", Principal=aws.ACCOUNT)
    client.remove_permission(**named, StatementId="bucket")
    assert statement(client, "bucket", **named) is None
    client.remove_permission(**named, StatementId="other")
    # Gone with its last statement, which the provider takes for success.
    refused(client, "ResourceNotFoundException", "get_policy", **named)
    refused(client, "ResourceNotFoundException", "remove_permission", **named, StatementId="other")


def test_policy_as_a_whole(client, published):
    arn = client.get_function(FunctionName=published)["Configuration"]["FunctionArn"]
    document = {
        "Version": "2012-10-17",
        "Statement": [
            {"Sid": "s", "Effect": "Allow", "Principal": {"Service": "events.amazonaws.com"},
             "Action": "lambda:InvokeFunction", "Resource": arn},
        ],
    }  # fmt: skip
    put = client.put_resource_policy(ResourceArn=arn, Policy=json.dumps(document))
    shown = twice(lambda: content(client.get_resource_policy(ResourceArn=arn)))
    assert json.loads(shown["Policy"])["Statement"] == document["Statement"]
    assert shown["RevisionId"] == put["RevisionId"]
    document["Statement"][0]["Sid"] = "t"
    client.put_resource_policy(ResourceArn=arn, Policy=json.dumps(document), RevisionId=put["RevisionId"])
    assert statement(client, "t", FunctionName=published)["Sid"] == "t"
    client.delete_resource_policy(ResourceArn=arn)
    refused(client, "ResourceNotFoundException", "get_resource_policy", ResourceArn=arn)


def test_layer_version(client):
    name = fresh_name("layer")
    made = client.publish_layer_version(
        LayerName=name, Content={"ZipFile": code.zipped({"glass.txt": "clear"})}, Description="glass",
        LicenseInfo="MIT", CompatibleRuntimes=[place.python_runtime()], CompatibleArchitectures=[place.architecture()],
    )  # fmt: skip
    version = {"LayerName": name, "VersionNumber": made["Version"]}

    def read():
        shown = content(client.get_layer_version(**version))
        shown["Content"].pop("Location")  # Signed anew each time.
        return shown

    assert twice(read)["LayerVersionArn"] == made["LayerVersionArn"]
    latest = client.list_layer_versions(LayerName=name, CompatibleRuntime=place.python_runtime())["LayerVersions"]
    assert [one["Version"] for one in latest] == [1]

    client.add_layer_version_permission(**version, StatementId="all", Action="lambda:GetLayerVersion", Principal="*")
    policy = twice(lambda: json.loads(client.get_layer_version_policy(**version)["Policy"]))
    assert [one["Sid"] for one in policy["Statement"]] == ["all"]
    client.remove_layer_version_permission(**version, StatementId="all")
    refused(client, "ResourceNotFoundException", "get_layer_version_policy", **version)

    client.delete_layer_version(**version)
    refused(client, "ResourceNotFoundException", "get_layer_version", **version)
    client.delete_layer_version(**version)


def test_provisioned_concurrency(client, published):
    client.create_alias(FunctionName=published, Name="live", FunctionVersion="1")
    named = {"FunctionName": published, "Qualifier": "live"}
    for wanted in (1, 2):
        client.put_provisioned_concurrency_config(**named, ProvisionedConcurrentExecutions=wanted)
        wait_until(lambda: client.get_provisioned_concurrency_config(**named)["Status"] == "READY", "READY", 60)
        shown = twice(lambda: content(client.get_provisioned_concurrency_config(**named)))
        assert shown["AllocatedProvisionedConcurrentExecutions"] == wanted
    client.delete_provisioned_concurrency_config(**named)
    refused(
        client, "ProvisionedConcurrencyConfigNotFoundException", "get_provisioned_concurrency_config", **named
    )


def test_code_signing_config(client, published):
    made = client.create_code_signing_config(
        Description="signs", AllowedPublishers={"SigningProfileVersionArns": [PROFILE]}, Tags={"a": "b"},
        CodeSigningPolicies={"UntrustedArtifactOnDeployment": "Warn"},
    )["CodeSigningConfig"]  # fmt: skip
    named = {"CodeSigningConfigArn": made["CodeSigningConfigArn"]}

    def read():
        shown = content(client.get_code_signing_config(**named))["CodeSigningConfig"]
        return shown, client.list_tags(Resource=made["CodeSigningConfigArn"])["Tags"]

    assert twice(read) == (made, {"a": "b"})
    client.put_function_code_signing_config(FunctionName=published, **named)
    shown = twice(lambda: content(client.get_function_code_signing_config(FunctionName=published)))
    assert shown == {"FunctionName": published, **named}
    client.update_code_signing_config(**named, Description="")
    assert not twice(read)[0].get("Description")
    client.delete_function_code_signing_config(FunctionName=published)
    assert content(client.get_function_code_signing_config(FunctionName=published)) == {}
    client.delete_code_signing_config(**named)
    refused(client, "ResourceNotFoundException", "get_code_signing_config", **named)


def test_runtime_management_and_recursion(client, published):
    named = {"FunctionName": published}
    client.put_runtime_management_config(**named, UpdateRuntimeOn="FunctionUpdate")
    shown = twice(lambda: content(client.get_runtime_management_config(**named)))
    assert shown["UpdateRuntimeOn"] == "FunctionUpdate"
    # How the provider destroys it: there is always one.
    client.put_runtime_management_config(**named, UpdateRuntimeOn="Auto")
    assert client.get_runtime_management_config(**named)["UpdateRuntimeOn"] == "Auto"
    client.put_function_recursion_config(**named, RecursiveLoop="Allow")
    assert twice(lambda: content(client.get_function_recursion_config(**named))) == {"RecursiveLoop": "Allow"}
    client.put_function_recursion_config(**named, RecursiveLoop="Terminate")
    assert client.get_function_recursion_config(**named)["RecursiveLoop"] == "Terminate"


def test_capacity_provider(client):
    name = fresh_name("capacity")
    arn = client.create_capacity_provider(
        CapacityProviderName=name, Tags={"a": "b"},
        VpcConfig={"SubnetIds": ["subnet-1"], "SecurityGroupIds": ["sg-1"]},
        PermissionsConfig={"CapacityProviderOperatorRoleArn": aws.ROLE},
    )["CapacityProvider"]["CapacityProviderArn"]  # fmt: skip
    named = {"CapacityProviderName": name}

    def state():
        return client.get_capacity_provider(**named)["CapacityProvider"]["State"]

    wait_until(lambda: state() in ("Active", "Failed"), "a state of rest")
    twice(lambda: (content(client.get_capacity_provider(**named)), client.list_tags(Resource=arn)["Tags"]))
    client.tag_resource(Resource=arn, Tags={"c": "d"})
    client.untag_resource(Resource=arn, TagKeys=["a"])
    assert client.list_tags(Resource=arn)["Tags"] == {"c": "d"}
    client.delete_capacity_provider(**named)
    refused(client, "ResourceNotFoundException", "get_capacity_provider", **named)


def test_invocation(client, published):
    """`aws_lambda_invocation`: the answer is kept as text, and a failure fails the resource."""
    done = client.invoke(FunctionName=published, Qualifier="1", InvocationType="RequestResponse", Payload=b'{"a": 1}')
    assert ("FunctionError" in done, done["Payload"].read()) == (False, b'{"a": 1}')
