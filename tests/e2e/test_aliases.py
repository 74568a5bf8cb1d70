"""Aliases: names that are moved between versions, and share calls between two."""

import collections

import pytest
from botocore.exceptions import ClientError
from harness import aws, code
from harness.functions import call

SOURCE = """
def handler(event, context):
    return [{text!r}, context.invoked_function_arn, context.function_version]
"""


@pytest.fixture
def two(client, function):
    """A function with the versions 1 and 2: (name, arn)."""
    name = function(SOURCE.format(text="one"), Publish=True)
    client.update_function_code(
        FunctionName=name, ZipFile=code.python(SOURCE.format(text="two")), Publish=True
    )
    for version in ("1", "2"):
        client.get_waiter("published_version_active").wait(
            FunctionName=name, Qualifier=version, WaiterConfig={"Delay": 1}
        )
    arn = client.get_function_configuration(FunctionName=name, Qualifier="1")["FunctionArn"]
    return name, arn.removesuffix(":1")


def refused(operation, **members):
    with pytest.raises(ClientError) as caught:
        operation(**members)
    error = caught.value.response
    status = error["ResponseMetadata"]["HTTPStatusCode"]
    return status, error["Error"]["Code"], error["Error"]["Message"]


def test_an_alias_lives(client, two):
    name, arn = two
    made = client.create_alias(
        FunctionName=name, Name="live", FunctionVersion="1", Description="the first"
    )
    assert made["ResponseMetadata"]["HTTPStatusCode"] == 201
    del made["ResponseMetadata"]
    assert made == {
        "AliasArn": f"{arn}:live", "Name": "live", "FunctionVersion": "1",
        "Description": "the first", "RevisionId": made["RevisionId"],
    }  # fmt: skip
    got = client.get_alias(FunctionName=name, Name="live")
    del got["ResponseMetadata"]
    assert got == made
    result, answer = call(client, name, Qualifier="live")
    assert (result, answer["ExecutedVersion"]) == (["one", f"{arn}:live", "1"], "1")
    shown = client.get_function(FunctionName=f"{name}:live")["Configuration"]
    assert (shown["FunctionArn"], shown["Version"]) == (f"{arn}:live", "1")
    moved = client.update_alias(
        FunctionName=name, Name="live", FunctionVersion="2", RevisionId=made["RevisionId"]
    )
    assert (moved["FunctionVersion"], moved["Description"]) == ("2", "the first")
    assert moved["RevisionId"] != made["RevisionId"]
    assert call(client, f"{arn}:live")[0][0] == "two"
    client.create_alias(FunctionName=name, Name="newest", FunctionVersion="$LATEST")
    listed = client.list_aliases(FunctionName=name)["Aliases"]
    assert [one["Name"] for one in listed] == ["live", "newest"]
    listed = client.list_aliases(FunctionName=name, FunctionVersion="2")["Aliases"]
    assert [one["Name"] for one in listed] == ["live"]
    pages = client.get_paginator("list_aliases").paginate(
        FunctionName=name, PaginationConfig={"PageSize": 1}
    )
    assert [[one["Name"] for one in page["Aliases"]] for page in pages] == [["live"], ["newest"]]
    assert refused(client.delete_function, FunctionName=name, Qualifier="2") == (
        409,
        "ResourceConflictException",
        "Unable to delete version because the following aliases reference it: [live]",
    )
    for _ in range(2):
        gone = client.delete_alias(FunctionName=name, Name="live")
        assert gone["ResponseMetadata"]["HTTPStatusCode"] == 204
    assert refused(client.get_alias, FunctionName=name, Name="live") == (
        404, "ResourceNotFoundException", f"Cannot find alias arn: {arn}:live"
    )  # fmt: skip
    assert refused(client.invoke, FunctionName=name, Qualifier="live") == (
        404, "ResourceNotFoundException", f"Function not found: {arn}:live"
    )  # fmt: skip
    client.delete_function(FunctionName=name, Qualifier="2")


def test_calls_are_shared_by_weight(client, two):
    name, _ = two
    routing = {"AdditionalVersionWeights": {"2": 0.5}}
    made = client.create_alias(
        FunctionName=name, Name="canary", FunctionVersion="1", RoutingConfig=routing
    )
    assert made["RoutingConfig"] == routing
    seen = collections.Counter()
    for _ in range(60):
        result, answer = call(client, name, Qualifier="canary")
        assert result[2] == answer["ExecutedVersion"]
        seen[answer["ExecutedVersion"]] += 1
    # Outside of this once in 10^9 runs.
    assert seen["1"] + seen["2"] == 60 and min(seen["1"], seen["2"]) > 6, seen
    cleared = client.update_alias(FunctionName=name, Name="canary", RoutingConfig={})
    assert "RoutingConfig" not in cleared
    assert {call(client, f"{name}:canary")[1]["ExecutedVersion"] for _ in range(20)} == {"1"}


def test_refusals_have_the_recorded_texts(access, two):
    name, arn = two
    client = aws.client(access, parameter_validation=False)
    client.create_alias(FunctionName=name, Name="custom", FunctionVersion="1")

    def create(alias="new", version="1", weights=None, function=name):
        routing = {} if weights is None else {"RoutingConfig": {"AdditionalVersionWeights": weights}}
        return refused(
            client.create_alias, FunctionName=function, Name=alias, FunctionVersion=version, **routing
        )

    invalid = (400, "InvalidParameterValueException")
    validation = (400, "ValidationException")
    missing = (404, "ResourceNotFoundException")
    assert create(weights={"1": 0.1, "2": 0.1}) == (
        *invalid, "Number of items in AdditionalVersionWeights cannot be greater than 1"
    )  # fmt: skip
    assert create(weights={"1": 0.5}) == (
        *invalid,
        "Invalid function version 1. Function version 1 is already included in routing"
        " configuration.",
    )
    assert create(version="$LATEST", weights={"1": 0.5}) == (
        *invalid, "$LATEST is not supported for an alias pointing to more than 1 version"
    )  # fmt: skip
    assert create(weights={"2": 2.0}) == (
        *validation,
        "1 validation error detected: Value '{2=2.0}' at 'routingConfig.additionalVersionWeights'"
        " failed to satisfy constraint: Map value must satisfy constraint: [Member must have value"
        " less than or equal to 1.0, Member must have value greater than or equal to 0.0, Member"
        " must not be null]",
    )
    assert create(weights={"2": -1.0}) == (
        *validation,
        "1 validation error detected: Value '{2=-1.0}' at 'routingConfig.additionalVersionWeights'"
        " failed to satisfy constraint: Map value must satisfy constraint: [Member must have value"
        " less than or equal to 1.0, Member must have value greater than or equal to 0.0, Member"
        " must not be null]",
    )
    assert create(weights={"$LATEST": 0.5}) == (
        *validation,
        "1 validation error detected: Value '{$LATEST=0.5}' at"
        " 'routingConfig.additionalVersionWeights' failed to satisfy constraint: Map keys must"
        " satisfy constraint: [Member must have length less than or equal to 1024, Member must"
        " have length greater than or equal to 1, Member must satisfy regular expression pattern:"
        " [0-9]+]",
    )
    assert create(alias="2024") == (
        *validation,
        "1 validation error detected: Value '2024' at 'name' failed to satisfy constraint: Member"
        " must satisfy regular expression pattern: (?!^[0-9]+$)([a-zA-Z0-9-_]+)",
    )
    assert create(version="10") == (*missing, f"Function not found: {arn}:10")
    assert create(weights={"9" * 40: 0.5})[:2] == missing
    assert create(function=f"{name}-unknown") == (
        *missing, f"Function not found: {arn}-unknown:1"
    )  # fmt: skip
    assert create(alias="custom") == (
        409, "ResourceConflictException", f"Alias already exists: {arn}:custom"
    )  # fmt: skip
    assert refused(client.update_alias, FunctionName=name, Name="non-existent") == (
        *missing, f"Alias not found: {arn}:non-existent"
    )  # fmt: skip
    assert refused(client.get_alias, FunctionName=name, Name="non-existent") == (
        *missing, f"Cannot find alias arn: {arn}:non-existent"
    )  # fmt: skip
    wrong = {"FunctionName": name, "Name": "custom", "RevisionId": "wrong"}
    assert refused(client.update_alias, **wrong) == (
        412,
        "PreconditionFailedException",
        "The Revision Id provided does not match the latest Revision Id. Call the"
        " GetFunction/GetAlias API to retrieve the latest Revision Id",
    )
    for operation in (client.get_function, client.invoke):
        assert refused(operation, FunctionName=name, Qualifier="aliasdoesnotexist") == (
            *missing, f"Function not found: {arn}:aliasdoesnotexist"
        )  # fmt: skip
