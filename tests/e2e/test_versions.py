"""Published versions: frozen, numbered, called and deleted one by one."""


import pytest
from botocore.exceptions import ClientError
from harness import code
from harness.functions import call, deploy, fresh_name

SOURCE = """
import os
count = 0
def handler(event, context):
    global count
    count += 1
    return {{
        "text": {text!r}, "count": count, "version": context.function_version,
        "environment": os.environ["AWS_LAMBDA_FUNCTION_VERSION"],
        "arn": context.invoked_function_arn, "stream": context.log_stream_name,
    }}
"""


def source(text):
    return code.python(SOURCE.format(text=text))


def update(client, name, text, **settings):
    answer = client.update_function_code(FunctionName=name, ZipFile=source(text), **settings)
    client.get_waiter("function_updated_v2").wait(
        FunctionName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 60}
    )
    return answer


def publish(client, name, **settings):
    answer = client.publish_version(FunctionName=name, **settings)
    client.get_waiter("published_version_active").wait(
        FunctionName=name, Qualifier=answer["Version"], WaiterConfig={"Delay": 1}
    )
    return answer


def refused(operation, **members):
    with pytest.raises(ClientError) as caught:
        operation(**members)
    error = caught.value.response
    status = error["ResponseMetadata"]["HTTPStatusCode"]
    return status, error["Error"]["Code"], error["Error"]["Message"]


def numbers(client, name):
    pages = client.get_paginator("list_versions_by_function").paginate(FunctionName=name)
    return [version["Version"] for page in pages for version in page["Versions"]]


def test_a_version_stays_as_it_was(client, function, logs):
    name = function(source("one"))
    published = publish(client, name, Description="first")
    arn = client.get_function(FunctionName=name)["Configuration"]["FunctionArn"]
    assert (published["Version"], published["Description"]) == ("1", "first")
    assert (published["FunctionArn"], published["State"]) == (f"{arn}:1", "Pending")
    first, answer = call(client, name, Qualifier="1")
    assert answer["ExecutedVersion"] == "1"
    assert answer["ResponseMetadata"]["HTTPHeaders"]["x-amz-executed-version"] == "1"
    assert (first["version"], first["environment"], first["arn"]) == ("1", "1", f"{arn}:1")
    assert "[1]" in first["stream"]
    update(client, name, "two")
    again, _ = call(client, f"{arn}:1")
    assert (again["text"], again["count"]) == ("one", 2), "its environment has survived"
    latest, answer = call(client, name)
    assert (latest["text"], answer["ExecutedVersion"]) == ("two", "$LATEST")
    shown = client.get_function_configuration(FunctionName=name, Qualifier="1")
    assert (shown["State"], shown["LastUpdateStatus"]) == ("Active", "Successful")
    assert shown["CodeSha256"] == published["CodeSha256"]
    for qualifier in ("1", "$LATEST"):
        shown = client.get_function(FunctionName=name, Qualifier=qualifier)["Configuration"]
        assert (shown["Version"], shown["FunctionArn"]) == (qualifier, f"{arn}:{qualifier}")


def test_nothing_new_is_no_new_version(client, function):
    name = function(source("one"))
    assert publish(client, name)["Version"] == "1"
    assert publish(client, name, Description="ignored")["Version"] == "1"
    assert update(client, name, "two", Publish=True)["Version"] == "2"
    assert client.get_function(FunctionName=name, Qualifier="2")["Configuration"]["Version"] == "2"
    client.delete_function(FunctionName=name, Qualifier="2")
    assert publish(client, name)["Version"] == "3", "numbers are never used again"
    assert numbers(client, name) == ["$LATEST", "1", "3"]


def test_a_function_can_be_published_as_it_is_created(client, function):
    name = fresh_name()
    function(source("one"), FunctionName=name, Publish=True)
    client.get_waiter("published_version_active").wait(
        FunctionName=name, Qualifier="1", WaiterConfig={"Delay": 1}
    )
    assert call(client, f"{name}:1")[0]["version"] == "1"


def test_guards_have_the_recorded_texts(client, function):
    name = function(source("one"))
    current = client.get_function_configuration(FunctionName=name)
    digest, revision = current["CodeSha256"], current["RevisionId"]
    assert refused(client.publish_version, FunctionName=name, CodeSha256="somenonexistentsha256") == (
        400,
        "InvalidParameterValueException",
        f"CodeSHA256 (somenonexistentsha256) is different from current CodeSHA256 in $LATEST ({digest})."
        " Please try again with the CodeSHA256 in $LATEST.",
    )
    assert refused(client.publish_version, FunctionName=name, RevisionId="wrong") == (
        412,
        "PreconditionFailedException",
        "The Revision Id provided does not match the latest Revision Id. Call the"
        " GetFunction/GetAlias API to retrieve the latest Revision Id",
    )
    publish(client, name, CodeSha256=digest, RevisionId=revision)
    after = client.get_function_configuration(FunctionName=name)["RevisionId"]
    assert after != revision


def test_what_is_not_there_is_said_to_be_not_there(client, function):
    name = function(source("one"))
    arn = client.get_function(FunctionName=name)["Configuration"]["FunctionArn"]
    for operation in (client.get_function, client.get_function_configuration, client.invoke):
        assert refused(operation, FunctionName=name, Qualifier="1221") == (
            404, "ResourceNotFoundException", f"Function not found: {arn}:1221"
        )  # fmt: skip
    # AWS: deleting a version that is not there succeeds.
    client.delete_function(FunctionName=name, Qualifier="1233")
    assert refused(client.delete_function, FunctionName=name, Qualifier="$LATEST") == (
        400,
        "InvalidParameterValueException",
        "$LATEST version cannot be deleted without deleting the function.",
    )
    client.delete_function(FunctionName=name)
    assert refused(client.delete_function, FunctionName=name) == (
        404, "ResourceNotFoundException", f"Function not found: {arn}"
    )  # fmt: skip


def test_versions_are_paged_and_listed_among_functions(client, function):
    name = function(source("0"))
    for number in range(1, 4):
        assert update(client, name, str(number), Publish=True)["Version"] == str(number)
    page = client.list_versions_by_function(FunctionName=name, MaxItems=2)
    assert [version["Version"] for version in page["Versions"]] == ["$LATEST", "1"]
    assert page["Versions"][0]["FunctionArn"].endswith(":$LATEST")
    page = client.list_versions_by_function(
        FunctionName=name, MaxItems=2, Marker=page["NextMarker"]
    )
    assert [version["Version"] for version in page["Versions"]] == ["2", "3"]
    assert "NextMarker" not in page
    pages = client.get_paginator("list_functions").paginate(
        FunctionVersion="ALL", PaginationConfig={"PageSize": 1}
    )
    listed = [one["Version"] for page in pages for one in page["Functions"] if one["FunctionName"] == name]
    assert listed == ["$LATEST", "1", "2", "3"]
    listed = client.get_paginator("list_functions").paginate()
    assert [one["Version"] for page in listed for one in page["Functions"]
            if one["FunctionName"] == name] == ["$LATEST"]  # fmt: skip


def test_versions_outlive_a_crash(own_server):
    server = own_server()
    client = server.client()
    name = deploy(client, source("one"))
    publish(client, name)
    update(client, name, "two")
    server.kill()
    server.start()
    client = server.client()
    assert call(client, f"{name}:1")[0]["text"] == "one"
    assert call(client, name)[0]["text"] == "two"
    assert publish(client, name)["Version"] == "2"
