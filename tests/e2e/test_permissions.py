"""Resource policies: who else may call a function, in AWS's shapes and words."""

import json

import botocore.exceptions
import pytest
from harness import aws

SOURCE = "def handler(event, context):\n    return 1\n"


@pytest.fixture
def name(function):
    return function(SOURCE, wait=False)


def arn(name):
    return f"arn:aws:lambda:us-east-1:{aws.ACCOUNT}:function:{name}"


def add(client, name, sid="s1", principal="s3.amazonaws.com", **settings):
    settings = {"Action": "lambda:InvokeFunction", **settings}
    answer = client.add_permission(
        FunctionName=name, StatementId=sid, Principal=principal, **settings
    )
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 201
    return json.loads(answer["Statement"])


def refused(code, message, call, *arguments, **settings):
    with pytest.raises(botocore.exceptions.ClientError) as caught:
        call(*arguments, **settings)
    error = caught.value.response["Error"]
    assert (error["Code"], error["Message"]) == (code, message)


def policy(client, name):
    answer = client.get_policy(FunctionName=name)
    return json.loads(answer["Policy"]), answer["RevisionId"]


def test_a_statement_is_added_read_and_removed(client, name):
    statement = add(client, name, SourceArn="arn:aws:s3:::bucket", SourceAccount=aws.ACCOUNT)
    assert statement == {
        "Sid": "s1",
        "Effect": "Allow",
        "Principal": {"Service": "s3.amazonaws.com"},
        "Action": "lambda:InvokeFunction",
        "Resource": arn(name),
        "Condition": {
            "StringEquals": {"AWS:SourceAccount": aws.ACCOUNT},
            "ArnLike": {"AWS:SourceArn": "arn:aws:s3:::bucket"},
        },
    }
    assert list(statement) == ["Sid", "Effect", "Principal", "Action", "Resource", "Condition"]
    document, revision = policy(client, name)
    assert document == {"Version": "2012-10-17", "Id": "default", "Statement": [statement]}
    add(client, name, "s2", "*", FunctionUrlAuthType="NONE", Action="lambda:InvokeFunctionUrl")
    document, changed = policy(client, name)
    assert [s["Sid"] for s in document["Statement"]] == ["s1", "s2"]
    assert changed != revision
    for sid in ("s1", "s2"):
        answer = client.remove_permission(FunctionName=name, StatementId=sid)
        assert answer["ResponseMetadata"]["HTTPStatusCode"] == 204
    refused("ResourceNotFoundException", "The resource you requested does not exist.",
            client.get_policy, FunctionName=name)  # fmt: skip


def test_versions_and_aliases_have_policies_of_their_own(client, function):
    name = function(SOURCE)
    version = client.publish_version(FunctionName=name)["Version"]
    client.create_alias(FunctionName=name, Name="live", FunctionVersion=version)
    for qualifier in (version, "live"):
        statement = add(client, name, "same", Qualifier=qualifier)
        assert statement["Resource"] == f"{arn(name)}:{qualifier}"
        read = client.get_policy(FunctionName=name, Qualifier=qualifier)
        assert [s["Resource"] for s in json.loads(read["Policy"])["Statement"]] == [
            f"{arn(name)}:{qualifier}"
        ]
    refused("ResourceNotFoundException", "The resource you requested does not exist.",
            client.get_policy, FunctionName=name)  # fmt: skip
    client.remove_permission(FunctionName=f"{name}:live", StatementId="same")
    client.get_policy(FunctionName=name, Qualifier=version)
    add(client, name, "same", Qualifier="live")
    client.delete_alias(FunctionName=name, Name="live")
    client.create_alias(FunctionName=name, Name="live", FunctionVersion=version)
    refused("ResourceNotFoundException", "The resource you requested does not exist.",
            client.get_policy, FunctionName=name, Qualifier="live")  # fmt: skip


def test_principals(client, name):
    account = add(client, name, "account", "111111111111")
    assert account["Principal"] == {"AWS": "arn:aws:iam::111111111111:root"}
    everybody = add(client, name, "org", "*", PrincipalOrgID="o-1234567890")
    assert everybody["Principal"] == "*"
    refused("InvalidParameterValueException",
            "The provided principal was invalid. Please check the principal and try again.",
            add, client, name, "bad", "invalid.nonaws.com")  # fmt: skip


def test_what_is_not_there(client, name):
    latest = "We currently do not support adding policies for $LATEST."
    refused("InvalidParameterValueException", latest, add, client, name, Qualifier="$LATEST")
    for qualifier, message in [
        ("42", f"Function not found: {arn(name)}:42"),
        ("alias-doesnotexist", f"Cannot find alias arn: {arn(name)}:alias-doesnotexist"),
        ("valid-with-$-but-doesnotexist",
         f"Function not found: {arn(name)}:valid-with-$-but-doesnotexist"),
    ]:  # fmt: skip
        refused("ResourceNotFoundException", message, add, client, name, Qualifier=qualifier)
        refused("ResourceNotFoundException", message, client.get_policy,
                FunctionName=name, Qualifier=qualifier)  # fmt: skip
    missing = arn("doesnotexist")
    refused("ResourceNotFoundException", f"Function not found: {missing}", add, client,
            "doesnotexist")  # fmt: skip
    refused("ResourceNotFoundException", f"No policy found for: {missing}",
            client.remove_permission, FunctionName="doesnotexist", StatementId="s1")  # fmt: skip
    refused("ResourceNotFoundException", "No policy is associated with the given resource.",
            client.remove_permission, FunctionName=name, StatementId="s1")  # fmt: skip
    add(client, name)
    refused("ResourceNotFoundException", "Statement non-existent is not found in resource policy.",
            client.remove_permission, FunctionName=name, StatementId="non-existent")  # fmt: skip
    refused("InvalidParameterValueException",
            "The derived qualifier from the function name does not match the specified qualifier.",
            add, client, f"{name}:alias-not-42", Qualifier="42")  # fmt: skip


def test_what_the_model_refuses(client, name):
    refused("ValidationException",
            "1 validation error detected: Value 'example.com' at 'statementId' failed to satisfy "
            "constraint: Member must satisfy regular expression pattern: ([a-zA-Z0-9-_]+)",
            add, client, name, "example.com")  # fmt: skip
    refused("ValidationException",
            "1 validation error detected: Value 'invalid-qualifier-with-?-char' at 'qualifier' "
            "failed to satisfy constraint: Member must satisfy regular expression pattern: "
            r"\$(LATEST(\.PUBLISHED)?)|[a-zA-Z0-9-_$]+",
            add, client, name, Qualifier="invalid-qualifier-with-?-char")  # fmt: skip


def test_a_statement_id_is_taken_once(client, name):
    add(client, name, "s3")
    refused("ResourceConflictException",
            "The statement id (s3) provided already exists. Please provide a new statement id, or "
            "remove the existing statement.",
            add, client, name, "s3")  # fmt: skip


def test_revisions_guard_changes(client, name):
    # Becoming active is a change of its own.
    client.get_waiter("function_active_v2").wait(FunctionName=name)
    message = (
        "The Revision Id provided does not match the latest Revision Id. Call the GetPolicy API to "
        "retrieve the latest Revision Id"
    )
    of_function = client.get_function_configuration(FunctionName=name)["RevisionId"]
    refused("PreconditionFailedException", message, add, client, name, RevisionId="wrong")
    add(client, name, RevisionId=of_function)
    _, revision = policy(client, name)
    refused("PreconditionFailedException", message, add, client, name, "s2", RevisionId=of_function)
    refused("PreconditionFailedException", message, client.remove_permission,
            FunctionName=name, StatementId="s1", RevisionId="wrong")  # fmt: skip
    add(client, name, "s2", RevisionId=revision)
    _, revision = policy(client, name)
    client.remove_permission(FunctionName=name, StatementId="s1", RevisionId=revision)


def test_a_policy_has_a_size(client, name):
    long = "arn:aws:s3:::" + "b" * 9_000
    add(client, name, "s1", SourceArn=long)
    add(client, name, "s2", SourceArn=long)
    with pytest.raises(client.exceptions.PolicyLengthExceededException) as caught:
        add(client, name, "s3", SourceArn=long)
    assert "is bigger than the limit (20480)." in str(caught.value)
    assert len(policy(client, name)[0]["Statement"]) == 2


def test_a_new_function_of_the_same_name_has_no_policy(client, function, name):
    add(client, name)
    client.delete_function(FunctionName=name)
    function(SOURCE, FunctionName=name, wait=False)
    refused("ResourceNotFoundException", "The resource you requested does not exist.",
            client.get_policy, FunctionName=name)  # fmt: skip


def test_whole_documents(client, name):
    document = {
        "Version": "2012-10-17",
        "Statement": [{
            "Sid": "mine", "Effect": "Allow", "Principal": {"Service": "sns.amazonaws.com"},
            "Action": "lambda:InvokeFunction", "Resource": arn(name),
        }],
    }  # fmt: skip
    answer = client.put_resource_policy(ResourceArn=arn(name), Policy=json.dumps(document))
    assert json.loads(answer["Policy"]) == document
    assert policy(client, name) == (document, answer["RevisionId"])
    add(client, name, "more")
    read = client.get_resource_policy(ResourceArn=arn(name))
    assert [s["Sid"] for s in json.loads(read["Policy"])["Statement"]] == ["mine", "more"]
    with pytest.raises(client.exceptions.PreconditionFailedException):
        client.delete_resource_policy(ResourceArn=arn(name), RevisionId=answer["RevisionId"])
    client.delete_resource_policy(ResourceArn=arn(name), RevisionId=read["RevisionId"])
    with pytest.raises(client.exceptions.ResourceNotFoundException):
        client.get_resource_policy(ResourceArn=arn(name))


@pytest.mark.parametrize("change", [
    {"Effect": "Maybe"}, {"Action": []}, {"Principal": None}, {"Resource": "*"},
    {"Condition": {"StringIs": {"a:b": "c"}}}, {"NotResource": "*"},
])  # fmt: skip
def test_a_document_that_says_nothing_clear_is_refused(client, name, change):
    statement = {
        "Effect": "Allow", "Principal": "*", "Action": "lambda:*", "Resource": arn(name), **change
    }  # fmt: skip
    document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    with pytest.raises(client.exceptions.InvalidParameterValueException):
        client.put_resource_policy(ResourceArn=arn(name), Policy=document)


def test_policies_outlive_the_server(own_server):
    from harness.functions import deploy

    server = own_server()
    client = aws.client(server.access())
    name = deploy(client, SOURCE, wait=False)
    add(client, name)
    before = policy(client, name)
    server.stop()
    server.start()
    assert policy(aws.client(server.access()), name) == before
