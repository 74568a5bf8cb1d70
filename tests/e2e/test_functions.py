"""Functions as resources: create, read, list, update, delete, as SDKs and the CLI see it."""

import base64
import hashlib
import json
import random
import re
import urllib.error
import urllib.request

import pytest
from harness import aws, code, leftovers, place
from harness.functions import call, deploy, fresh_name
from harness.leftovers import wait_until
from harness.steady import settled

HELLO = "def handler(event, context):\n    return 'hello'\n"
REVISION_CONFLICT = (
    "The Revision Id provided does not match the latest Revision Id. "
    "Call the GetFunction/GetAlias API to retrieve the latest Revision Id"
)
UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"


def arn(name, region="us-east-1"):
    return f"arn:aws:lambda:{region}:{aws.ACCOUNT}:function:{name}"


def refused(client, error, operation, **arguments):
    """Calls an operation that must fail with the named error; returns (message, status)."""
    with pytest.raises(client.exceptions.ClientError) as caught:
        getattr(client, operation)(**arguments)
    response = caught.value.response
    assert response["Error"]["Code"] == error, response
    return response["Error"]["Message"], response["ResponseMetadata"]["HTTPStatusCode"]


def test_minimal_create_reply(client, function):
    name, package = fresh_name(), code.python(HELLO)
    function(package, FunctionName=name)
    client.delete_function(FunctionName=name)
    reply = client.create_function(
        FunctionName=name, Role=aws.ROLE, Runtime=place.python_runtime(), Handler="app.handler",
        Code={"ZipFile": package},
    )  # fmt: skip
    assert reply["ResponseMetadata"]["HTTPStatusCode"] == 201
    assert reply["FunctionArn"] == arn(name)
    assert reply["Architectures"] == [place.architecture()]
    assert reply["CodeSha256"] == base64.b64encode(hashlib.sha256(package).digest()).decode()
    assert reply["CodeSize"] == len(package)
    assert reply["Description"] == ""
    assert reply["EphemeralStorage"] == {"Size": 512}
    assert reply["LoggingConfig"] == {"LogFormat": "Text", "LogGroup": f"/aws/lambda/{name}"}
    assert reply["MemorySize"] == 128
    assert reply["PackageType"] == "Zip"
    assert reply["SnapStart"] == {"ApplyOn": "None", "OptimizationStatus": "Off"}
    assert (reply["State"], reply["StateReasonCode"]) == ("Pending", "Creating")
    assert reply["StateReason"] == "The function is being created."
    assert reply["Timeout"] == 3
    assert reply["TracingConfig"] == {"Mode": "PassThrough"}
    assert reply["Version"] == "$LATEST"
    assert re.fullmatch(UUID, reply["RevisionId"])
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+0000", reply["LastModified"])
    for absent in ("Environment", "LastUpdateStatus", "Layers", "KMSKeyArn", "DeadLetterConfig"):
        assert absent not in reply


def test_settings_are_echoed(client, function):
    given = {
        "Description": "echoes",
        "Timeout": 7,
        "MemorySize": 192,
        "Environment": {"Variables": {"LAMP": "on"}},
        "TracingConfig": {"Mode": "Active"},
        "EphemeralStorage": {"Size": 600},
        "LoggingConfig": {
            "LogFormat": "JSON",
            "ApplicationLogLevel": "INFO",
            "SystemLogLevel": "WARN",
            "LogGroup": "/lamps/all",
        },
    }
    name = function(HELLO, **given, Tags={"street": "lamp"})
    settings = client.get_function_configuration(FunctionName=name)
    for member, value in given.items():
        assert settings[member] == value, member
    assert (settings["State"], settings["LastUpdateStatus"]) == ("Active", "Successful")
    assert client.get_function(FunctionName=name)["Tags"] == {"street": "lamp"}


@pytest.mark.parametrize(
    "member, value",
    [
        ("DeadLetterConfig", {"TargetArn": "arn:aws:sqs:us-east-1:000000000000:dead"}),
        ("KMSKeyArn", "arn:aws:kms:us-east-1:000000000000:key/1234abcd-12ab-34cd-56ef-1234567890ab"),
        ("Architectures", [place.architecture()]),
        ("TracingConfig", {"Mode": "PassThrough"}),
    ],
)
def test_settings_without_meaning_here_are_kept(client, function, member, value):
    """Stored and read back, also after an update of something else: Terraform compares them."""
    name = function(HELLO, **{member: value})
    assert client.get_function_configuration(FunctionName=name)[member] == value
    client.update_function_configuration(FunctionName=name, Description="another")
    assert client.get_function_configuration(FunctionName=name)[member] == value


def test_empty_environment_is_not_no_environment(client, function):
    name = function(HELLO, Environment={"Variables": {}})
    settings = client.get_function_configuration(FunctionName=name)
    assert settings["Environment"] == {"Variables": {}}


@pytest.mark.parametrize(
    "waiter",
    ["function_exists", "function_active", "function_active_v2", "function_updated",
     "function_updated_v2"],
)  # fmt: skip
def test_waiters_pass(client, function, waiter):
    name = function(HELLO)
    client.get_waiter(waiter).wait(FunctionName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 20})


def test_update_of_configuration_changes_what_is_given(client, function):
    name = function(HELLO, Description="before", Timeout=9)
    before = client.get_function_configuration(FunctionName=name)
    reply = client.update_function_configuration(FunctionName=name, Description="after")
    assert reply["Description"] == "after"
    assert reply["LastUpdateStatus"] in ("InProgress", "Successful")
    client.get_waiter("function_updated_v2").wait(FunctionName=name)
    after = client.get_function_configuration(FunctionName=name)
    assert (after["Description"], after["Timeout"]) == ("after", 9)
    assert after["RevisionId"] != before["RevisionId"]
    assert after["CodeSha256"] == before["CodeSha256"]


def test_update_of_code(client, function):
    name = function(HELLO)
    package = code.python("def handler(event, context):\n    return 'new'\n")
    reply = client.update_function_code(FunctionName=name, ZipFile=package)
    assert reply["CodeSha256"] == base64.b64encode(hashlib.sha256(package).digest()).decode()
    client.get_waiter("function_updated_v2").wait(FunctionName=name)
    assert call(client, name)[0] == "new"


def test_dry_run_of_code_changes_nothing(client, function):
    name = function(HELLO)
    before = client.get_function_configuration(FunctionName=name)
    package = code.python("def handler(event, context):\n    return 'new'\n")
    client.update_function_code(FunctionName=name, ZipFile=package, DryRun=True)
    after = client.get_function_configuration(FunctionName=name)
    assert after["CodeSha256"] == before["CodeSha256"]
    assert after["RevisionId"] == before["RevisionId"]


def test_stale_revision_is_refused(client, function):
    name = function(HELLO)
    stale = "00000000-0000-0000-0000-000000000000"
    for operation, change in [
        ("update_function_configuration", {"Description": "x"}),
        ("update_function_code", {"ZipFile": code.python(HELLO)}),
    ]:
        message, status = refused(
            client, "PreconditionFailedException", operation,
            FunctionName=name, RevisionId=stale, **change,
        )  # fmt: skip
        assert (message, status) == (REVISION_CONFLICT, 412)


def test_current_revision_is_taken(client, function):
    name = function(HELLO)
    now = client.get_function_configuration(FunctionName=name)["RevisionId"]
    client.update_function_configuration(FunctionName=name, RevisionId=now, Timeout=5)


def test_all_forms_of_a_name(client, function):
    name = function(HELLO)
    for form in (name, f"{aws.ACCOUNT}:function:{name}", arn(name), f"{name}:$LATEST",
                 f"{arn(name)}:$LATEST"):  # fmt: skip
        assert client.get_function_configuration(FunctionName=form)["FunctionName"] == name, form
        assert call(client, form)[0] == "hello", form


def test_arn_has_the_qualifier_that_was_asked_for(client, function):
    name = function(HELLO)
    reply = client.get_function(FunctionName=name, Qualifier="$LATEST")
    assert reply["Configuration"]["FunctionArn"] == f"{arn(name)}:$LATEST"


def test_other_region_is_not_reachable(client, function):
    name = function(HELLO)
    message, status = refused(
        client, "ResourceNotFoundException", "get_function",
        FunctionName=arn(name, "eu-central-1"),
    )  # fmt: skip
    assert status == 404
    assert message == (
        "Functions from 'eu-central-1' are not reachable in this region ('us-east-1')"
    )


def test_missing_function(client):
    name = fresh_name("missing")
    for operation in ("get_function", "get_function_configuration", "delete_function"):
        message, status = refused(
            client, "ResourceNotFoundException", operation, FunctionName=name
        )
        assert (message, status) == (f"Function not found: {arn(name)}", 404)


def test_duplicate_is_a_conflict(client, function):
    name = function(HELLO)
    message, status = refused(
        client, "ResourceConflictException", "create_function", FunctionName=name, Role=aws.ROLE,
        Runtime=place.python_runtime(), Handler="app.handler",
        Code={"ZipFile": code.python(HELLO)},
    )  # fmt: skip
    assert (message, status) == (f"Function already exist: {name}", 409)


def test_delete_is_final(client, function):
    name = function(HELLO)
    assert call(client, name)[0] == "hello"
    reply = client.delete_function(FunctionName=name)
    assert reply["ResponseMetadata"]["HTTPStatusCode"] == 204
    refused(client, "ResourceNotFoundException", "get_function", FunctionName=name)
    refused(client, "ResourceNotFoundException", "invoke", FunctionName=name)


def test_latest_alone_cannot_be_deleted(client, function):
    name = function(HELLO)
    message, status = refused(
        client, "InvalidParameterValueException", "delete_function",
        FunctionName=name, Qualifier="$LATEST",
    )  # fmt: skip
    expected = "$LATEST version cannot be deleted without deleting the function."
    assert (message, status) == (expected, 400)


def test_pages_of_a_list(client, function):
    mine = {function(HELLO, wait=False) for _ in range(5)}
    pages = list(client.get_paginator("list_functions").paginate(PaginationConfig={"PageSize": 2}))
    assert all(len(page["Functions"]) <= 2 for page in pages)
    names = [one["FunctionName"] for page in pages for one in page["Functions"]]
    assert mine <= set(names)
    assert len(names) == len(set(names))
    # AWS: a list leaves out how far creation or an update has come.
    assert all("State" not in one for page in pages for one in page["Functions"])


def test_code_downloads(client, function):
    package = code.python(HELLO)
    name = function(package)
    place_ = client.get_function(FunctionName=name)["Code"]
    assert place_["RepositoryType"] == "S3"
    with urllib.request.urlopen(place_["Location"], timeout=30) as answer:
        assert answer.read() == package
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(place_["Location"] + "0", timeout=30)
    assert caught.value.code == 403


def test_not_a_zip_file(client):
    message, status = refused(
        client, "InvalidParameterValueException", "create_function", FunctionName=fresh_name(),
        Role=aws.ROLE, Runtime=place.python_runtime(), Handler="app.handler",
        Code={"ZipFile": b"this is not a zip file"},
    )  # fmt: skip
    expected = "Could not unzip uploaded file. Please check your file, then try to upload again."
    assert (message, status) == (expected, 400)


@pytest.mark.parametrize("path", ["../outside.py", "/etc/outside.py", "a/../../outside.py"])
def test_zip_that_points_outside(client, path):
    message, status = refused(
        client, "InvalidParameterValueException", "create_function", FunctionName=fresh_name(),
        Role=aws.ROLE, Runtime=place.python_runtime(), Handler="app.handler",
        Code={"ZipFile": code.zipped({"app.py": HELLO, path: "x = 1\n"})},
    )  # fmt: skip
    assert status == 400
    assert message.startswith("Could not unzip uploaded file.")


def test_zip_that_unpacks_too_large(client):
    message, status = refused(
        client, "InvalidParameterValueException", "create_function", FunctionName=fresh_name(),
        Role=aws.ROLE, Runtime=place.python_runtime(), Handler="app.handler",
        Code={"ZipFile": code.zipped({"app.py": HELLO, "zeros": bytes(262_144_001)})},
    )  # fmt: skip
    assert (message, status) == ("Unzipped size must be smaller than 262144000 bytes", 400)


def test_zip_with_too_many_files(client):
    message, status = refused(
        client, "InvalidParameterValueException", "create_function", FunctionName=fresh_name(),
        Role=aws.ROLE, Runtime=place.python_runtime(), Handler="app.handler",
        Code={"ZipFile": code.zipped({f"{number}.py": b"" for number in range(100_001)})},
    )  # fmt: skip
    assert (status, message[:16]) == (400, "Could not unzip ")


def test_zip_whose_file_is_a_directory_of_another(client):
    message, status = refused(
        client, "InvalidParameterValueException", "create_function", FunctionName=fresh_name(),
        Role=aws.ROLE, Runtime=place.python_runtime(), Handler="app.handler",
        Code={"ZipFile": code.zipped({"app.py": HELLO, "a": "file", "a/b": "below it"})},
    )  # fmt: skip
    assert (status, message[:16]) == (400, "Could not unzip ")


@pytest.mark.parametrize("target", ["/etc/passwd", "../../../../etc/passwd"])
def test_zip_with_a_link_to_the_host(client, function, target):
    """Refused, or kept as a link that leads nowhere but into the sandbox's own files."""
    package = code.zipped(
        {"app.py": "def handler(event, context):\n    return open('/var/task/link').read()\n",
         "link": target},
        {"link": 0o120777},
    )  # fmt: skip
    try:
        name = function(package)
    except client.exceptions.InvalidParameterValueException as error:
        assert "Could not unzip uploaded file" in str(error)
        return
    payload, _ = call(client, name)
    with open("/etc/passwd") as passwd:
        assert payload != passwd.read()


def test_too_many_environment_variables(client):
    message, status = refused(
        client, "InvalidParameterValueException", "create_function", FunctionName=fresh_name(),
        Role=aws.ROLE, Runtime=place.python_runtime(), Handler="app.handler",
        Code={"ZipFile": code.python(HELLO)}, Environment={"Variables": {"LARGE": "x" * 4096}},
    )  # fmt: skip
    assert status == 400
    assert message.startswith(
        "Lambda was unable to configure your environment variables because the environment "
        "variables you have provided exceeded the 4KB limit. String measured: "
    )


@pytest.mark.parametrize("reserved", ["AWS_REGION", "AWS_LAMBDA_RUNTIME_API", "LAMBDA_TASK_ROOT"])
def test_reserved_environment_variables(client, reserved):
    message, status = refused(
        client, "InvalidParameterValueException", "create_function", FunctionName=fresh_name(),
        Role=aws.ROLE, Runtime=place.python_runtime(), Handler="app.handler",
        Code={"ZipFile": code.python(HELLO)}, Environment={"Variables": {reserved: "mine"}},
    )  # fmt: skip
    assert status == 400
    assert reserved in message


def test_runtime_of_the_past(client):
    message, status = refused(
        client, "InvalidParameterValueException", "create_function", FunctionName=fresh_name(),
        Role=aws.ROLE, Runtime="python3.7", Handler="app.handler",
        Code={"ZipFile": code.python(HELLO)},
    )  # fmt: skip
    assert status == 400
    assert message.startswith(
        "The runtime parameter of python3.7 is no longer supported for creating or updating AWS "
        "Lambda functions. We recommend you use"
    )


def test_tags(client, function):
    name = function(HELLO)
    client.tag_resource(Resource=arn(name), Tags={"a": "1", "b": "2"})
    client.untag_resource(Resource=arn(name), TagKeys=["a"])
    assert client.list_tags(Resource=arn(name))["Tags"] == {"b": "2"}


def test_account_counts_functions(client, function):
    before = client.get_account_settings()
    package = code.python(HELLO)
    function(package)
    after = client.get_account_settings()
    assert after["AccountUsage"]["FunctionCount"] == before["AccountUsage"]["FunctionCount"] + 1
    grown = after["AccountUsage"]["TotalCodeSize"] - before["AccountUsage"]["TotalCodeSize"]
    assert grown > 0
    assert after["AccountLimit"]["CodeSizeUnzipped"] == 262_144_000


def test_many_updates_keep_the_disk_small(own_server):
    """Replaced code stays as long as a call may still run it, but never more than 32 of it."""
    server = own_server()
    client = server.client()
    name, size, updates = fresh_name(), 1 << 18, 60

    def package(number):
        return code.zipped({"app.py": HELLO, "blob": random.Random(number).randbytes(size)})

    deploy(client, package(0), FunctionName=name)
    for number in range(1, updates):
        client.update_function_code(FunctionName=name, ZipFile=package(number))
        settled(client, name)

    def used():
        """By code; the log of the store has its room ahead of its use."""
        store = sum(path.stat().st_size for path in server.data_dir.glob("state.db*"))
        return leftovers.disk_use(server.data_dir) - store

    # Each is there zipped and unpacked.
    wait_until(lambda: used() < 40 * 2 * size, lambda: f"{used()} bytes to shrink", 30)


def test_the_command_line_reads_functions(server, function):
    name = function(HELLO)
    done = aws.cli(server, "lambda", "get-function", "--function-name", name)
    assert json.loads(done.stdout)["Configuration"]["FunctionName"] == name
    done = aws.cli(server, "lambda", "list-functions")
    assert name in done.stdout
