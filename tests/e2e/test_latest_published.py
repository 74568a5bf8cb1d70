"""`$LATEST.PUBLISHED`: the version of functions on Managed Instances that is published again and
again, and is what calls without a qualifier run."""

import pytest
from botocore.exceptions import ClientError
from harness import aws, code
from harness.functions import call, deploy, fresh_name

LATEST = "$LATEST.PUBLISHED"
SOURCE = """
def handler(event, context):
    return {{"text": {text!r}, "version": context.function_version}}
"""
PROVIDER = f"arn:aws:lambda:us-east-1:{aws.ACCOUNT}:capacity-provider:any"
MANAGED = {"LambdaManagedInstancesCapacityProviderConfig": {"CapacityProviderArn": PROVIDER}}


def source(text):
    return code.python(SOURCE.format(text=text))


def managed(function, text="one", **settings):
    return function(source(text), CapacityProviderConfig=MANAGED, **settings)


def settled(client, name, qualifier=None):
    which = {"FunctionName": name, **({"Qualifier": qualifier} if qualifier else {})}
    for waiter in ("function_active_v2", "function_updated_v2"):
        client.get_waiter(waiter).wait(**which, WaiterConfig={"Delay": 1, "MaxAttempts": 60})


def publish(client, name, **settings):
    answer = client.publish_version(FunctionName=name, PublishTo="LATEST_PUBLISHED", **settings)
    settled(client, name, LATEST)
    return answer


def test_it_is_what_a_call_without_a_qualifier_runs(client, function):
    name = managed(function)
    assert call(client, name)[0] == {"text": "one", "version": "$LATEST"}
    published = publish(client, name, Description="first")
    arn = client.get_function(FunctionName=name)["Configuration"]["FunctionArn"]
    assert (published["Version"], published["FunctionArn"]) == (LATEST, f"{arn}:{LATEST}")
    assert (published["State"], published["Description"]) == ("Pending", "first")
    result, answer = call(client, name)
    assert result == {"text": "one", "version": LATEST}
    assert answer["ExecutedVersion"] == LATEST
    client.update_function_code(FunctionName=name, ZipFile=source("two"))
    settled(client, name)
    assert call(client, name)[0]["text"] == "one", "it is not what is published"
    assert call(client, name, Qualifier="$LATEST")[0] == {"text": "two", "version": "$LATEST"}
    again = publish(client, name)
    assert (again["State"], again["LastUpdateStatus"]) == ("Active", "InProgress")
    for which in (name, f"{name}:{LATEST}", f"{arn}:{LATEST}"):
        assert call(client, which)[0] == {"text": "two", "version": LATEST}
    assert publish(client, name)["RevisionId"] == publish(client, name)["RevisionId"], "nothing new"


def test_it_lives_beside_numbers_and_aliases(client, function):
    name = managed(function)
    publish(client, name)
    assert client.publish_version(FunctionName=name)["Version"] == "1"
    versions = client.list_versions_by_function(FunctionName=name)["Versions"]
    assert [version["Version"] for version in versions] == ["$LATEST", "1", LATEST]
    client.create_alias(FunctionName=name, Name="live", FunctionVersion=LATEST)
    assert client.get_alias(FunctionName=name, Name="live")["FunctionVersion"] == LATEST
    assert call(client, f"{name}:live")[0]["version"] == LATEST
    with pytest.raises(client.exceptions.ResourceConflictException):
        client.delete_function(FunctionName=name, Qualifier=LATEST)
    client.delete_alias(FunctionName=name, Name="live")
    for _ in range(2):
        client.delete_function(FunctionName=name, Qualifier=LATEST)
    with pytest.raises(client.exceptions.ResourceNotFoundException):
        client.get_function(FunctionName=name, Qualifier=LATEST)
    assert call(client, name)[0]["version"] == "$LATEST"


def test_it_can_be_published_with_a_change(client, function):
    name = fresh_name()
    managed(function, FunctionName=name, Publish=True, PublishTo="LATEST_PUBLISHED")
    settled(client, name, LATEST)
    assert call(client, name)[0] == {"text": "one", "version": LATEST}
    updated = client.update_function_code(
        FunctionName=name, ZipFile=source("two"), Publish=True, PublishTo="LATEST_PUBLISHED"
    )
    assert (updated["Version"], updated["FunctionArn"].endswith(f":{LATEST}")) == (LATEST, True)
    settled(client, name, LATEST)
    assert call(client, name)[0] == {"text": "two", "version": LATEST}
    versions = client.list_versions_by_function(FunctionName=name)["Versions"]
    assert [version["Version"] for version in versions] == ["$LATEST", LATEST]


def test_other_functions_have_none(client, function):
    name = function(source("one"))
    for operation, settings in (
        ("publish_version", {}),
        ("update_function_code", {"ZipFile": source("two"), "Publish": True}),
    ):
        with pytest.raises(ClientError) as caught:
            getattr(client, operation)(FunctionName=name, PublishTo="LATEST_PUBLISHED", **settings)
        assert caught.value.response["Error"]["Code"] == "InvalidParameterValueException"
    assert call(client, name)[0]["text"] == "one"
    # The number that it is kept under names nothing.
    for qualifier in (LATEST, str(2**64 - 1)):
        with pytest.raises(client.exceptions.ResourceNotFoundException):
            client.invoke(FunctionName=name, Qualifier=qualifier)


def test_it_outlives_a_crash(own_server):
    server = own_server()
    client = server.client()
    name = deploy(client, source("one"), CapacityProviderConfig=MANAGED)
    publish(client, name)
    client.update_function_code(FunctionName=name, ZipFile=source("two"))
    settled(client, name)
    server.kill()
    server.start()
    assert call(server.client(), name)[0] == {"text": "one", "version": LATEST}
