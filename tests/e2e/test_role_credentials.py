"""The execution role inside a function: boto3 there needs no configuration."""

import dataclasses
import functools
import json

import botocore.exceptions
import pytest
from harness import aws, code, place
from harness.functions import call, deploy, fresh_name, run_inside

SOURCE = "def handler(event, context):\n    return event\n"
TRUST = json.dumps({
    "Version": "2012-10-17",
    "Statement": [{
        "Effect": "Allow", "Action": "sts:AssumeRole",
        "Principal": {"Service": "lambda.amazonaws.com"},
    }],
})  # fmt: skip

# A call of the API from inside, answered with its outcome or the refusal.
ASK = """
import boto3, botocore.config, botocore.exceptions
client = boto3.client({service!r}, config=botocore.config.Config(retries={{"total_max_attempts": 1}}))
try:
    answer = client.{operation}(**{arguments!r})
    answer.pop("ResponseMetadata")
    if "Payload" in answer:
        answer["Payload"] = answer["Payload"].read().decode()
    result = {{name: value for name, value in answer.items() if isinstance(value, (str, int))}}
except botocore.exceptions.ClientError as error:
    result = error.response["Error"]
"""


@functools.cache
def package():
    """The probe, with the SDK and what it knows of three services."""
    import botocore

    site = next(p for p in map(place.pathlib.Path, botocore.__path__)).parent
    files = code.tree(site, "boto3", "botocore", "s3transfer", "jmespath", "dateutil", "urllib3",
                      "six.py")  # fmt: skip
    services = ("sts", "lambda", "iam", "logs")

    def wanted(path):
        parts = path.split("/")
        if "data" not in parts[:2] or len(parts) < 4:
            return True
        return parts[2] in services

    files = {path: content for path, content in files.items() if wanted(path)}
    return code.zipped({**files, "app.py": code.PROBE})


@pytest.fixture(scope="module")
def iam(access):
    return aws.client(access, "iam")


@pytest.fixture(scope="module")
def role(iam):
    name = fresh_name("role")
    yield iam.create_role(RoleName=name, AssumeRolePolicyDocument=TRUST)["Role"]["Arn"]
    for policy in iam.list_role_policies(RoleName=name)["PolicyNames"]:
        iam.delete_role_policy(RoleName=name, PolicyName=policy)
    iam.delete_role(RoleName=name)


def maker(client, role_arn):
    name = deploy(client, package(), FunctionName=fresh_name("visitor"), Role=role_arn,
                  MemorySize=512, Timeout=60)  # fmt: skip

    def ask(service, operation, **arguments):
        python = ASK.format(service=service, operation=operation, arguments=arguments)
        return run_inside(client, name, python)

    return name, ask


@pytest.fixture(scope="module")
def visitor(client, role):
    name, ask = maker(client, role)
    yield name, ask
    client.delete_function(FunctionName=name)


def denied(role, name, action, resource):
    who = f"arn:aws:sts::{aws.ACCOUNT}:assumed-role/{role.split('/')[-1]}/{name}"
    return (
        f"User: {who} is not authorized to perform: {action} on resource: {resource} "
        f"because no identity-based policy allows the {action} action"
    )


def arn(name):
    return f"arn:aws:lambda:us-east-1:{aws.ACCOUNT}:function:{name}"


def test_a_function_is_its_role(visitor, role, iam):
    name, ask = visitor
    who = ask("sts", "get_caller_identity")
    assert who["Arn"] == f"arn:aws:sts::{aws.ACCOUNT}:assumed-role/{role.split('/')[-1]}/{name}"
    role_id = iam.get_role(RoleName=role.split("/")[-1])["Role"]["RoleId"]
    assert (who["UserId"], who["Account"]) == (f"{role_id}:{name}", aws.ACCOUNT)


def test_it_may_what_the_role_may(client, visitor, role, iam, function):
    name, ask = visitor
    other = function(SOURCE)
    refusal = ask("lambda", "invoke", FunctionName=other, Payload="[1]")
    assert refusal["Code"] == "AccessDeniedException"
    assert refusal["Message"] == denied(role, name, "lambda:InvokeFunction", arn(other))
    iam.put_role_policy(RoleName=role.split("/")[-1], PolicyName="p", PolicyDocument=json.dumps({
        "Version": "2012-10-17",
        "Statement": [{
            "Effect": "Allow", "Action": "lambda:InvokeFunction", "Resource": arn(other),
            "Condition": {"ArnEquals": {"lambda:SourceFunctionArn": arn(name)}},
        }],
    }))  # fmt: skip
    # The environment is the same, and so are its credentials: what counts is what the role may now.
    assert ask("lambda", "invoke", FunctionName=other, Payload="[1]")["Payload"] == "[1]"
    refusal = ask("lambda", "get_function", FunctionName=other)
    assert refusal["Message"] == denied(role, name, "lambda:GetFunction", arn(other))
    assert ask("iam", "list_users")["Code"] == "AccessDenied"


def test_a_role_that_nobody_made(client):
    missing = f"arn:aws:iam::{aws.ACCOUNT}:role/nobody-made-it"
    name, ask = maker(client, missing)
    try:
        assert ask("sts", "get_caller_identity")["Arn"].endswith(f"nobody-made-it/{name}")
        refusal = ask("lambda", "list_functions")
        assert refusal["Message"] == denied(missing, name, "lambda:ListFunctions", "*")
        group = f"/aws/lambda/{name}"
        assert ask("logs", "create_log_stream", logGroupName=group, logStreamName="own") == {}
        refusal = ask("logs", "create_log_stream", logGroupName="/aws/lambda/x", logStreamName="o")
        assert refusal["Code"] == "AccessDeniedException"
    finally:
        client.delete_function(FunctionName=name)


def test_the_variables(client, probe, access):
    python = "import os; result = {k: v for k, v in os.environ.items() if k.startswith('AWS_')}"
    variables = probe(python)
    assert variables["AWS_ACCESS_KEY_ID"].startswith("ASIA")
    assert variables["AWS_ENDPOINT_URL"].startswith("http://")
    # Who has them is the function, also outside.
    outside = dataclasses.replace(access, key=variables["AWS_ACCESS_KEY_ID"],
                                  secret=variables["AWS_SECRET_ACCESS_KEY"],
                                  token=variables["AWS_SESSION_TOKEN"])  # fmt: skip
    who = aws.client(outside, "sts").get_caller_identity()["Arn"]
    assert ":assumed-role/lambda/probe-" in who
    with pytest.raises(botocore.exceptions.ClientError) as caught:
        aws.client(outside).list_functions()
    assert caught.value.response["Error"]["Code"] == "AccessDeniedException"


# An HTTP request from inside, as anybody can write one.
RAW = """
import os, urllib.request, urllib.error
url = os.environ["AWS_ENDPOINT_URL"] + "/2015-03-31/functions"
try:
    result = urllib.request.urlopen(url, timeout=20).status
except urllib.error.HTTPError as error:
    result = [error.code, error.headers["x-amzn-errortype"]]
"""


def test_nobody_is_believed_without_a_signature(probe):
    assert probe(RAW) == [403, "MissingAuthenticationTokenException"]


def test_an_open_server_is_not_open_to_functions(own_server):
    server = own_server("--auth", "none")
    client = aws.client(aws.Access(server.endpoint, "any", "thing"))
    name = deploy(client, code.PROBE)
    assert run_inside(client, name, RAW) == [403, "MissingAuthenticationTokenException"]


def test_environments_have_credentials_of_their_own(client, function):
    name = function("""
        import os, time
        def handler(event, context):
            time.sleep(event)
            return os.environ["AWS_ACCESS_KEY_ID"]
    """)
    first, _ = call(client, name, 0)
    assert call(client, name, 0)[0] == first
    client.update_function_configuration(FunctionName=name, Description="another")
    client.get_waiter("function_updated_v2").wait(FunctionName=name, WaiterConfig={"Delay": 1})
    assert call(client, name, 0)[0] != first


def test_a_function_may_say_where_the_api_is(client, function):
    name = function("import os\ndef handler(event, context):\n    return os.environ['AWS_ENDPOINT_URL']\n",
                    Environment={"Variables": {"AWS_ENDPOINT_URL": "http://example.com"}})  # fmt: skip
    assert call(client, name)[0] == "http://example.com"
