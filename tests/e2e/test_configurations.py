"""What is stored beside functions and shown again: tags, URL and event invoke configurations,
code signing, runtime management, recursion."""

import re

import pytest
from harness import aws, code
from harness.functions import deploy, fresh_name
from harness.refusals import content, refused

HELLO = "def handler(event, context):\n    return 'hello'\n"
PUBLISHERS = {"SigningProfileVersionArns": [f"arn:aws:signer:us-east-1:{aws.ACCOUNT}:/signing-profiles/test"]}
NO_RESOURCE = ("The resource you requested does not exist.", 404)


def arn(name):
    return f"arn:aws:lambda:us-east-1:{aws.ACCOUNT}:function:{name}"


@pytest.fixture(scope="module")
def name(client):
    """A function that all tests of this module share; none changes what another one looks at."""
    name = deploy(client, HELLO, FunctionName=fresh_name("stored"))
    yield name
    client.delete_function(FunctionName=name)


def test_tags_of_a_function(client, function):
    name = function(HELLO, Tags={"street": "lamp"})
    before = client.get_function(FunctionName=name)["Configuration"]
    client.tag_resource(Resource=arn(name), Tags={"town": "Dublin", "street": "light"})
    assert content(client.list_tags(Resource=arn(name))) == {"Tags": {"street": "light", "town": "Dublin"}}
    client.untag_resource(Resource=arn(name), TagKeys=["street", "never-there"])
    shown = client.get_function(FunctionName=name)
    assert shown["Tags"] == {"town": "Dublin"}
    assert shown["Configuration"]["LastModified"] == before["LastModified"]
    assert shown["Configuration"]["RevisionId"] != before["RevisionId"]
    client.untag_resource(Resource=arn(name), TagKeys=["town"])
    assert content(client.list_tags(Resource=arn(name))) == {"Tags": {}}
    many = {f"key{number}": "x" for number in range(50)}
    client.tag_resource(Resource=arn(name), Tags=many)
    for tags in ({"one": "more"}, {f"other{number}": "x" for number in range(51)}):
        assert refused(client, "InvalidParameterValueException", "tag_resource", Resource=arn(name), Tags=tags) == (
            "Number of tags exceeds resource tag limit.", 400
        )  # fmt: skip
    assert client.list_tags(Resource=arn(name))["Tags"] == many


def test_what_cannot_be_tagged(client, name):
    missing = arn("doesnotexist")
    for operation, more in (("tag_resource", {"Tags": {"a": "b"}}), ("untag_resource", {"TagKeys": ["a"]}), ("list_tags", {})):
        assert refused(client, "ResourceNotFoundException", operation, Resource=missing, **more) == (
            f"Function not found: {missing}", 404
        )  # fmt: skip
        for qualifier in ("$LATEST", "1", "live"):
            assert refused(
                client, "InvalidParameterValueException", operation, Resource=f"{arn(name)}:{qualifier}", **more
            ) == ("Tags on function aliases and versions are not supported. Please specify a function ARN.", 400)
        for kind, text in (
            ("event-source-mapping:00000000-0000-0000-0000-000000000000", "Event source mapping"),
            ("capacity-provider:none", "Capacity provider"),
        ):
            resource = f"arn:aws:lambda:us-east-1:{aws.ACCOUNT}:{kind}"
            assert refused(client, "ResourceNotFoundException", operation, Resource=resource, **more) == (
                f"{text} not found: {resource}", 404
            )  # fmt: skip
        message, status = refused(client, "ValidationException", operation, Resource="arn:aws:something", **more)
        assert message.startswith("1 validation error detected: Value 'arn:aws:something' at 'resource'")
    assert refused(client, "InvalidParameterValueException", "tag_resource", Resource=arn(name), Tags={}) == (
        "An error occurred and the request cannot be processed.", 400
    )  # fmt: skip
    assert refused(client, "ValidationException", "untag_resource", Resource=arn(name), TagKeys=[]) == (
        "1 validation error detected: Value null at 'tagKeys' failed to satisfy constraint: Member must not be null", 400
    )  # fmt: skip


def test_url_configuration(client, function):
    name = function(HELLO)
    created = content(client.create_function_url_config(FunctionName=name, AuthType="NONE"))
    assert re.fullmatch(r"https://[a-z0-9]{32}\.lambda-url\.us-east-1\.on\.aws/", created["FunctionUrl"])
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", created["CreationTime"])
    assert created["FunctionArn"] == arn(name)
    assert set(created) == {"FunctionUrl", "FunctionArn", "AuthType", "CreationTime"}
    assert refused(client, "ResourceConflictException", "create_function_url_config", FunctionName=name, AuthType="NONE") == (
        f"Failed to create function url config for [functionArn = {arn(name)}]. "
        "Error message:  FunctionUrlConfig exists for this Lambda function", 409,
    )  # fmt: skip
    shown = content(client.get_function_url_config(FunctionName=name))
    assert shown == {**created, "InvokeMode": "BUFFERED", "LastModifiedTime": created["CreationTime"]}
    assert content(client.get_function_url_config(FunctionName=name)) == shown
    cors = {"AllowCredentials": True, "AllowHeaders": ["*"], "AllowMethods": ["GET"], "AllowOrigins": ["https://a.b"], "ExposeHeaders": ["x"], "MaxAge": 5}
    updated = content(client.update_function_url_config(FunctionName=name, AuthType="AWS_IAM", Cors=cors, InvokeMode="RESPONSE_STREAM"))
    assert updated == {**shown, "AuthType": "AWS_IAM", "Cors": cors, "InvokeMode": "RESPONSE_STREAM", "LastModifiedTime": updated["LastModifiedTime"]}
    assert content(client.get_function_url_config(FunctionName=name)) == updated
    assert client.list_function_url_configs(FunctionName=name)["FunctionUrlConfigs"] == [updated]
    cleared = content(client.update_function_url_config(FunctionName=name, Cors={}))
    assert "Cors" not in cleared and cleared["FunctionUrl"] == created["FunctionUrl"]
    client.delete_function_url_config(FunctionName=name)
    for operation in ("get_function_url_config", "delete_function_url_config", "update_function_url_config"):
        assert refused(client, "ResourceNotFoundException", operation, FunctionName=name) == NO_RESOURCE
    assert client.list_function_url_configs(FunctionName=name)["FunctionUrlConfigs"] == []
    again = client.create_function_url_config(FunctionName=name, AuthType="NONE")
    assert again["FunctionUrl"] != created["FunctionUrl"]


def test_url_configuration_refusals(client, name):
    for missing in ("doesnotexist", arn("doesnotexist"), f"{name}:noalias"):
        assert refused(client, "ResourceNotFoundException", "create_function_url_config", FunctionName=missing, AuthType="NONE") == (
            "Function does not exist", 404
        )  # fmt: skip
        assert refused(client, "ResourceNotFoundException", "get_function_url_config", FunctionName=missing) == NO_RESOURCE
    assert refused(client, "ResourceNotFoundException", "list_function_url_configs", FunctionName="doesnotexist") == (
        "Function does not exist", 404
    )  # fmt: skip
    for qualifier in ("1", "2", "$LATEST"):
        assert refused(
            client, "ValidationException", "create_function_url_config", FunctionName=name, Qualifier=qualifier, AuthType="NONE"
        ) == (
            f"1 validation error detected: Value '{qualifier}' at 'qualifier' failed to satisfy constraint: "
            r"Member must satisfy regular expression pattern: ((?!^\d+$)^[0-9a-zA-Z-_]+$)", 400,
        )  # fmt: skip
    assert refused(
        client, "InvalidParameterValueException", "get_function_url_config", FunctionName=f"{arn(name)}:live", Qualifier="beta"
    ) == ("The derived qualifier from the function name does not match the specified qualifier.", 400)
    message, _ = refused(client, "ValidationException", "create_function_url_config", FunctionName=name, AuthType="NONE", InvokeMode="UNKNOWN")
    assert message.startswith("1 validation error detected: Value 'UNKNOWN' at 'invokeMode' failed to satisfy constraint")


def test_event_invoke_configuration(client, function):
    name, other = function(HELLO), function(HELLO)
    nowhere = {"OnSuccess": {}, "OnFailure": {}}
    put = content(client.put_function_event_invoke_config(FunctionName=name, MaximumRetryAttempts=0))
    stamp = put.pop("LastModified")
    assert stamp.tzinfo
    assert put == {"FunctionArn": f"{arn(name)}:$LATEST", "MaximumRetryAttempts": 0, "DestinationConfig": nowhere}
    put = content(client.put_function_event_invoke_config(FunctionName=name, MaximumEventAgeInSeconds=60))
    assert "MaximumRetryAttempts" not in put
    destinations = {"OnSuccess": {"Destination": arn(other)}, "OnFailure": {"Destination": f"arn:aws:sqs:us-east-1:{aws.ACCOUNT}:q"}}
    client.update_function_event_invoke_config(FunctionName=name, MaximumRetryAttempts=1)
    merged = content(client.update_function_event_invoke_config(FunctionName=name, DestinationConfig=destinations))
    assert (merged["MaximumRetryAttempts"], merged["MaximumEventAgeInSeconds"]) == (1, 60)
    assert merged["DestinationConfig"] == destinations
    for qualifier in ({}, {"Qualifier": "$LATEST"}):
        assert content(client.get_function_event_invoke_config(FunctionName=name, **qualifier)) == merged
    listed = client.list_function_event_invoke_configs(FunctionName=name)
    assert listed["FunctionEventInvokeConfigs"] == [merged]
    cleared = client.update_function_event_invoke_config(FunctionName=name, DestinationConfig={"OnSuccess": {"Destination": ""}})
    assert cleared["DestinationConfig"] == nowhere
    client.delete_function_event_invoke_config(FunctionName=name)
    missing = (f"The function {arn(name)}:$LATEST doesn't have an EventInvokeConfig", 404)
    for operation in ("get", "delete"):
        assert refused(client, "ResourceNotFoundException", f"{operation}_function_event_invoke_config", FunctionName=name) == missing
    assert refused(
        client, "ResourceNotFoundException", "update_function_event_invoke_config", FunctionName=name, MaximumRetryAttempts=1
    ) == missing  # fmt: skip


def test_event_invoke_refusals(client, name):
    put = "put_function_event_invoke_config"
    for operation in (put, "update_function_event_invoke_config"):
        assert refused(client, "InvalidParameterValueException", operation, FunctionName=name) == (
            "You must specify at least one of error handling or destination setting.", 400
        )  # fmt: skip
        for missing in ({"FunctionName": "doesnotexist"}, {"FunctionName": name, "Qualifier": "noalias"}, {"FunctionName": name, "Qualifier": "7"}):
            assert refused(client, "ResourceNotFoundException", operation, **missing, MaximumRetryAttempts=0) == (
                "The function doesn't exist.", 404
            )  # fmt: skip
    for missing, shown in (("doesnotexist", "doesnotexist:$LATEST"), (f"{name}:noalias", f"{name}:noalias")):
        assert refused(client, "ResourceNotFoundException", "get_function_event_invoke_config", FunctionName=missing) == (
            f"The function {arn(shown)} doesn't have an EventInvokeConfig", 404
        )  # fmt: skip
    assert refused(client, "ResourceNotFoundException", "list_function_event_invoke_configs", FunctionName="doesnotexist") == (
        "The function doesn't exist.", 404
    )  # fmt: skip

    def destination(side, where):
        config = {side: {"Destination": where}}
        return refused(client, "InvalidParameterValueException", put, FunctionName=name, DestinationConfig=config)

    role = f"arn:aws:iam:us-east-1:{aws.ACCOUNT}:function:{name}"
    assert destination("OnSuccess", role) == (
        f"The provided destination config DestinationConfig(onSuccess=OnSuccess(destination={role}), onFailure=null) is invalid.", 400
    )  # fmt: skip
    bucket = "arn:aws:s3:::bucket"
    assert destination("OnSuccess", bucket)[0].startswith("The provided destination config")
    assert destination("OnSuccess", arn("doesnotexist")) == (f"The destination ARN {arn('doesnotexist')} is invalid.", 400)
    assert destination("OnFailure", arn(name)) == ("You can't specify the function as a destination for itself.", 400)
    client.put_function_event_invoke_config(FunctionName=name, DestinationConfig={"OnFailure": {"Destination": bucket}})
    client.delete_function_event_invoke_config(FunctionName=name)


def test_code_signing(client, function):
    name = function(HELLO)
    assert content(client.get_function_code_signing_config(FunctionName=name)) == {}
    policies = {"UntrustedArtifactOnDeployment": "Enforce"}
    config = client.create_code_signing_config(
        Description="lamps", AllowedPublishers=PUBLISHERS, CodeSigningPolicies=policies, Tags={"a": "b"}
    )["CodeSigningConfig"]
    config_arn = config["CodeSigningConfigArn"]
    assert re.fullmatch(r"csc-[a-z0-9]{17}", config["CodeSigningConfigId"])
    assert config["CodeSigningPolicies"] == policies and config["AllowedPublishers"] == PUBLISHERS
    assert client.list_tags(Resource=config_arn)["Tags"] == {"a": "b"}
    client.tag_resource(Resource=config_arn, Tags={"c": "d"})
    client.untag_resource(Resource=config_arn, TagKeys=["a"])
    assert client.list_tags(Resource=config_arn)["Tags"] == {"c": "d"}
    assert client.get_code_signing_config(CodeSigningConfigArn=config_arn)["CodeSigningConfig"] == config
    unchanged = client.update_code_signing_config(CodeSigningConfigArn=config_arn)["CodeSigningConfig"]
    assert {**unchanged, "LastModified": ""} == {**config, "LastModified": ""}

    both = {"CodeSigningConfigArn": config_arn, "FunctionName": name}
    assert content(client.put_function_code_signing_config(**both)) == both
    assert content(client.get_function_code_signing_config(FunctionName=name)) == both
    assert client.list_functions_by_code_signing_config(CodeSigningConfigArn=config_arn)["FunctionArns"] == [arn(name)]
    message, status = refused(
        client, "CodeVerificationFailedException", "update_function_code", FunctionName=name, ZipFile=code.python(HELLO)
    )
    assert status == 400 and "signature" in message
    assert refused(client, "ResourceConflictException", "delete_code_signing_config", CodeSigningConfigArn=config_arn)[1] == 409
    client.update_code_signing_config(CodeSigningConfigArn=config_arn, CodeSigningPolicies={"UntrustedArtifactOnDeployment": "Warn"})
    client.update_function_code(FunctionName=name, ZipFile=code.python(HELLO + "#"))
    client.delete_function_code_signing_config(FunctionName=name)
    client.delete_function_code_signing_config(FunctionName=name)
    assert config_arn in {c["CodeSigningConfigArn"] for c in client.list_code_signing_configs()["CodeSigningConfigs"]}

    signed = deploy(client, HELLO, CodeSigningConfigArn=config_arn)
    assert client.get_function_code_signing_config(FunctionName=signed)["CodeSigningConfigArn"] == config_arn
    client.delete_function(FunctionName=signed)
    assert client.list_functions_by_code_signing_config(CodeSigningConfigArn=config_arn)["FunctionArns"] == []
    client.delete_code_signing_config(CodeSigningConfigArn=config_arn)


def test_code_signing_refusals(client, name):
    missing = f"arn:aws:lambda:us-east-1:{aws.ACCOUNT}:code-signing-config:csc-00000000000000000"
    for operation in (
        "get_code_signing_config", "update_code_signing_config", "delete_code_signing_config",
        "list_functions_by_code_signing_config",
    ):  # fmt: skip
        assert refused(client, "ResourceNotFoundException", operation, CodeSigningConfigArn=missing) == (
            f"The Lambda code signing configuration {missing} can not be found.", 404
        )  # fmt: skip
    for function in (name, "doesnotexist"):
        assert refused(
            client, "CodeSigningConfigNotFoundException", "put_function_code_signing_config",
            FunctionName=function, CodeSigningConfigArn=missing,
        ) == (
            "The code signing configuration cannot be found. Check that the provided configuration is not deleted: "
            f"{missing}.", 404,
        )  # fmt: skip
    for operation in ("get_function_code_signing_config", "delete_function_code_signing_config"):
        assert refused(client, "ResourceNotFoundException", operation, FunctionName="doesnotexist") == (
            f"Function not found: {arn('doesnotexist')}", 404
        )  # fmt: skip


def test_runtime_management_and_recursion(client, function):
    name = function(HELLO)
    shown = content(client.get_runtime_management_config(FunctionName=name))
    assert shown == {"UpdateRuntimeOn": "Auto", "FunctionArn": arn(name)}
    put = content(client.put_runtime_management_config(FunctionName=name, UpdateRuntimeOn="FunctionUpdate"))
    assert put == {"UpdateRuntimeOn": "FunctionUpdate", "FunctionArn": arn(name)}
    version = client.get_function_configuration(FunctionName=name)["RuntimeVersionConfig"]["RuntimeVersionArn"]
    put = content(client.put_runtime_management_config(FunctionName=name, UpdateRuntimeOn="Manual", RuntimeVersionArn=version))
    assert put["RuntimeVersionArn"] == version
    assert content(client.get_runtime_management_config(FunctionName=name)) == put
    for wrong in ({"UpdateRuntimeOn": "Manual"}, {"UpdateRuntimeOn": "Auto", "RuntimeVersionArn": version},
                  {"UpdateRuntimeOn": "Manual", "RuntimeVersionArn": version + "0"}):  # fmt: skip
        refused(client, "InvalidParameterValueException", "put_runtime_management_config", FunctionName=name, **wrong)

    assert content(client.get_function_recursion_config(FunctionName=name)) == {"RecursiveLoop": "Terminate"}
    assert content(client.put_function_recursion_config(FunctionName=name, RecursiveLoop="Allow")) == {"RecursiveLoop": "Allow"}
    assert content(client.get_function_recursion_config(FunctionName=name)) == {"RecursiveLoop": "Allow"}
    assert refused(client, "ValidationException", "put_function_recursion_config", FunctionName=name, RecursiveLoop="InvalidValue") == (
        "1 validation error detected: Value 'InvalidValue' at 'recursiveLoop' failed to satisfy constraint: "
        "Member must satisfy enum value set: [Terminate, Allow]", 400,
    )  # fmt: skip
    for operation in ("get_runtime_management_config", "get_function_recursion_config"):
        assert refused(client, "ResourceNotFoundException", operation, FunctionName="doesnotexist") == (
            f"Function not found: {arn('doesnotexist')}", 404
        )  # fmt: skip


def test_a_namesake_begins_with_nothing(client, function):
    name = function(HELLO)
    client.create_function_url_config(FunctionName=name, AuthType="NONE")
    client.put_function_event_invoke_config(FunctionName=name, MaximumRetryAttempts=0)
    client.put_function_recursion_config(FunctionName=name, RecursiveLoop="Allow")
    client.put_runtime_management_config(FunctionName=name, UpdateRuntimeOn="FunctionUpdate")
    client.delete_function(FunctionName=name)
    assert refused(client, "ResourceNotFoundException", "get_function_url_config", FunctionName=name) == NO_RESOURCE
    function(HELLO, FunctionName=name)
    refused(client, "ResourceNotFoundException", "get_function_url_config", FunctionName=name)
    refused(client, "ResourceNotFoundException", "get_function_event_invoke_config", FunctionName=name)
    assert client.get_function_recursion_config(FunctionName=name)["RecursiveLoop"] == "Terminate"
    assert client.get_runtime_management_config(FunctionName=name)["UpdateRuntimeOn"] == "Auto"


def test_configurations_survive_a_kill(own_server):
    server = own_server()
    client = aws.client(server.access())
    name = deploy(client, HELLO)
    url = content(client.create_function_url_config(FunctionName=name, AuthType="AWS_IAM", Cors={"MaxAge": 9}))
    client.tag_resource(Resource=arn(name), Tags={"kept": "yes"})
    shown = content(client.get_function_url_config(FunctionName=name))
    server.kill()
    server.start()
    client = aws.client(server.access())
    assert content(client.get_function_url_config(FunctionName=name)) == shown
    assert url["FunctionUrl"] == shown["FunctionUrl"]
    assert client.list_tags(Resource=arn(name))["Tags"] == {"kept": "yes"}


@pytest.fixture
def aliased(client, function):
    """A function with version 1 and the alias `live`."""
    name = function(HELLO, Publish=True)
    client.create_alias(FunctionName=name, Name="live", FunctionVersion="1")
    return name


def test_an_alias_has_a_url_of_its_own(client, aliased):
    own = client.create_function_url_config(FunctionName=aliased, AuthType="NONE")
    of_alias = client.create_function_url_config(FunctionName=aliased, Qualifier="live", AuthType="NONE")
    assert of_alias["FunctionArn"] == f"{arn(aliased)}:live"
    assert of_alias["FunctionUrl"] != own["FunctionUrl"]
    pages = client.get_paginator("list_function_url_configs").paginate(FunctionName=aliased, PaginationConfig={"PageSize": 1})
    urls = [url["FunctionUrl"] for page in pages for url in page["FunctionUrlConfigs"]]
    assert sorted(urls) == sorted([own["FunctionUrl"], of_alias["FunctionUrl"]])
    client.delete_function_url_config(FunctionName=aliased)
    refused(client, "ResourceNotFoundException", "get_function_url_config", FunctionName=aliased)
    shown = client.get_function_url_config(FunctionName=f"{arn(aliased)}:live")
    assert shown["FunctionUrl"] == of_alias["FunctionUrl"]
    client.delete_alias(FunctionName=aliased, Name="live")
    client.create_alias(FunctionName=aliased, Name="live", FunctionVersion="1")
    assert refused(client, "ResourceNotFoundException", "get_function_url_config", FunctionName=aliased, Qualifier="live") == NO_RESOURCE


def test_each_qualifier_has_its_event_invoke_configuration(client, aliased):
    for number, qualifier in enumerate(("$LATEST", "1", "live")):
        put = client.put_function_event_invoke_config(FunctionName=aliased, Qualifier=qualifier, MaximumRetryAttempts=number)
        assert put["FunctionArn"] == f"{arn(aliased)}:{qualifier}"
    for number, qualifier in enumerate(("$LATEST", "1", "live")):
        shown = client.get_function_event_invoke_config(FunctionName=aliased, Qualifier=qualifier)
        assert shown["MaximumRetryAttempts"] == number
    pages = client.get_paginator("list_function_event_invoke_configs").paginate(FunctionName=aliased, PaginationConfig={"PageSize": 2})
    assert sum(len(page["FunctionEventInvokeConfigs"]) for page in pages) == 3
    client.delete_alias(FunctionName=aliased, Name="live")
    client.delete_function(FunctionName=aliased, Qualifier="1")
    listed = client.list_function_event_invoke_configs(FunctionName=aliased)["FunctionEventInvokeConfigs"]
    assert [one["FunctionArn"] for one in listed] == [f"{arn(aliased)}:$LATEST"]
    for gone in ("1", "live"):
        assert refused(client, "ResourceNotFoundException", "get_function_event_invoke_config", FunctionName=aliased, Qualifier=gone) == (
            f"The function {arn(aliased)}:{gone} doesn't have an EventInvokeConfig", 404
        )  # fmt: skip


def test_versions_and_aliases_of_mappings_and_tags(access, client, aliased):
    aws.client(access, "sqs").create_queue(QueueName=f"of-{aliased}")
    source = f"arn:aws:sqs:us-east-1:{aws.ACCOUNT}:of-{aliased}"
    for qualifier in ("1", "live"):
        mapping = client.create_event_source_mapping(FunctionName=f"{aliased}:{qualifier}", EventSourceArn=source)
        assert mapping["FunctionArn"] == f"{arn(aliased)}:{qualifier}"
    assert len(client.list_event_source_mappings(EventSourceArn=source)["EventSourceMappings"]) == 2
    client.tag_resource(Resource=arn(aliased), Tags={"a": "b"})
    assert client.get_function(FunctionName=aliased, Qualifier="1")["Tags"] == {"a": "b"}
    # A tag is no change of what a version freezes.
    assert client.publish_version(FunctionName=aliased)["Version"] == "1"


def test_settings_that_are_refused(client, name):
    update = "update_function_configuration"
    assert refused(client, "ValidationException", update, FunctionName=name, SnapStart={"ApplyOn": "invalidOption"}) == (
        "1 validation error detected: Value 'invalidOption' at 'snapStart.applyOn' failed to satisfy constraint: "
        "Member must satisfy enum value set: [PublishedVersions, None]", 400,
    )  # fmt: skip
    for wrong in ({"DeadLetterConfig": {"TargetArn": "arn:aws:s3:::bucket"}}, {"Timeout": 901}, {"MemorySize": 10_241},
                  {"LoggingConfig": {"LogFormat": "Text", "SystemLogLevel": "WARN"}}):  # fmt: skip
        assert refused(client, "InvalidParameterValueException", update, FunctionName=name, **wrong)[1] == 400
