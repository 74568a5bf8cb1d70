"""Users, roles and policies, and that they are held against every request."""

import dataclasses
import datetime
import json

import botocore.exceptions
import pytest
from harness import aws
from harness.functions import call, deploy, fresh_name

SOURCE = "def handler(event, context):\n    return 1\n"


def document(*statements):
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def allow(action, resource="*", **more):
    return {"Effect": "Allow", "Action": action, "Resource": resource, **more}


def trust(**principal):
    return document({"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": principal})


def arn(name):
    return f"arn:aws:lambda:us-east-1:{aws.ACCOUNT}:function:{name}"


@pytest.fixture(scope="module")
def iam(access):
    return aws.client(access, "iam")


@pytest.fixture
def user(iam, access):
    """A maker of users: `user(*statements)` gives what their keys open."""
    made = []

    def make(*statements):
        name = fresh_name("user")
        iam.create_user(UserName=name)
        made.append(name)
        if statements:
            iam.put_user_policy(UserName=name, PolicyName="p", PolicyDocument=document(*statements))
        key = iam.create_access_key(UserName=name)["AccessKey"]
        return name, dataclasses.replace(
            access, key=key["AccessKeyId"], secret=key["SecretAccessKey"]
        )

    yield make
    for name in made:
        for key in iam.list_access_keys(UserName=name)["AccessKeyMetadata"]:
            iam.delete_access_key(UserName=name, AccessKeyId=key["AccessKeyId"])
        for policy in iam.list_user_policies(UserName=name)["PolicyNames"]:
            iam.delete_user_policy(UserName=name, PolicyName=policy)
        iam.delete_user(UserName=name)


@pytest.fixture
def role(iam):
    made = []

    def make(trust_policy, *statements):
        name = fresh_name("role")
        made.append(name)
        created = iam.create_role(RoleName=name, AssumeRolePolicyDocument=trust_policy)["Role"]
        if statements:
            iam.put_role_policy(RoleName=name, PolicyName="p", PolicyDocument=document(*statements))
        return created["Arn"]

    yield make
    for name in made:
        for policy in iam.list_role_policies(RoleName=name)["PolicyNames"]:
            iam.delete_role_policy(RoleName=name, PolicyName=policy)
        for policy in iam.list_attached_role_policies(RoleName=name)["AttachedPolicies"]:
            iam.detach_role_policy(RoleName=name, PolicyArn=policy["PolicyArn"])
        iam.delete_role(RoleName=name)


def denied(who, action, resource, why="because no identity-based policy allows the {} action"):
    return (
        "AccessDeniedException",
        f"User: {who} is not authorized to perform: {action} on resource: {resource} "
        + why.format(action),
    )


def fails(expected, operation, **settings):
    with pytest.raises(botocore.exceptions.ClientError) as caught:
        operation(**settings)
    error = caught.value.response["Error"]
    assert (error["Code"], error["Message"]) == expected
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403


def test_a_user_may_nothing_but_ask_who_they_are(user):
    name, access = user()
    who = f"arn:aws:iam::{aws.ACCOUNT}:user/{name}"
    assert aws.client(access, "sts").get_caller_identity()["Arn"] == who
    lambda_ = aws.client(access)
    fails(denied(who, "lambda:ListFunctions", "*"), lambda_.list_functions)
    fails(denied(who, "lambda:InvokeFunction", arn("f")), lambda_.invoke, FunctionName="f")
    code, message = denied(who, "iam:ListUsers", "*")
    fails(("AccessDenied", message), aws.client(access, "iam").list_users)
    fails(denied(who, "logs:DescribeLogGroups", "*"), aws.client(access, "logs").describe_log_groups)


def test_what_a_policy_allows_and_what_it_denies(user, function):
    name, other = function(SOURCE), function(SOURCE, wait=False)
    who, access = user(
        allow("lambda:*", arn("*")),
        {"Effect": "Deny", "Action": "lambda:Delete*", "Resource": arn(name)},
    )
    client = aws.client(access)
    assert call(client, name)[0] == 1
    who = f"arn:aws:iam::{aws.ACCOUNT}:user/{who}"
    why = "with an explicit deny in an identity-based policy"
    fails(denied(who, "lambda:DeleteFunction", arn(name), why),
          client.delete_function, FunctionName=name)  # fmt: skip
    client.get_function(FunctionName=other)
    fails(denied(who, "lambda:ListFunctions", "*"), client.list_functions)


def test_conditions(user, function):
    name = function(SOURCE, wait=False)
    def with_condition(**condition):
        _, access = user(allow("lambda:GetFunction", Condition=condition))
        return aws.send(access, "GET", f"/2015-03-31/functions/{name}").status

    assert with_condition(IpAddress={"aws:SourceIp": "127.0.0.0/8"}) == 200
    assert with_condition(NotIpAddress={"aws:SourceIp": "127.0.0.0/8"}) == 403
    assert with_condition(DateGreaterThan={"aws:CurrentTime": "2020-01-01T00:00:00Z"}) == 200
    assert with_condition(StringEquals={"aws:RequestedRegion": "eu-west-1"}) == 403
    assert with_condition(Bool={"aws:SecureTransport": "true"}) == 403


def test_a_resource_policy_lets_a_user_in(client, user, function):
    name = function(SOURCE)
    who, access = user()
    guest = aws.client(access)
    who = f"arn:aws:iam::{aws.ACCOUNT}:user/{who}"
    fails(denied(who, "lambda:InvokeFunction", arn(name)), guest.invoke, FunctionName=name)
    client.add_permission(FunctionName=name, StatementId="s", Action="lambda:InvokeFunction",
                          Principal=who)  # fmt: skip
    assert call(guest, name)[0] == 1
    fails(denied(who, "lambda:GetFunction", arn(name)), guest.get_function, FunctionName=name)
    # The account itself is not everybody in it.
    client.remove_permission(FunctionName=name, StatementId="s")
    client.add_permission(FunctionName=name, StatementId="s", Action="lambda:InvokeFunction",
                          Principal=aws.ACCOUNT)  # fmt: skip
    fails(denied(who, "lambda:InvokeFunction", arn(name)), guest.invoke, FunctionName=name)


def test_a_policy_is_for_the_qualifier_it_was_made_for(client, user, function):
    name = function(SOURCE)
    version = client.publish_version(FunctionName=name)["Version"]
    who, access = user()
    who = f"arn:aws:iam::{aws.ACCOUNT}:user/{who}"
    client.add_permission(FunctionName=name, StatementId="s", Action="lambda:InvokeFunction",
                          Principal=who, Qualifier=version)  # fmt: skip
    guest = aws.client(access)
    client.get_waiter("published_version_active").wait(FunctionName=name, Qualifier=version)
    assert call(guest, name, Qualifier=version)[0] == 1
    fails(denied(who, "lambda:InvokeFunction", arn(name)), guest.invoke, FunctionName=name)
    latest = arn(name) + ":$LATEST"
    fails(denied(who, "lambda:InvokeFunction", latest), guest.invoke,
          FunctionName=name, Qualifier="$LATEST")  # fmt: skip


def test_whoever_makes_a_function_has_to_be_allowed_to_pass_its_role(user, role):
    ours = role(trust(Service="lambda.amazonaws.com"))
    who, access = user(allow("lambda:*"), allow("iam:PassRole", ours, Condition={
        "StringEquals": {"iam:PassedToService": "lambda.amazonaws.com"}}))  # fmt: skip
    client = aws.client(access)
    name = deploy(client, SOURCE, Role=ours, wait=False)
    client.delete_function(FunctionName=name)
    who = f"arn:aws:iam::{aws.ACCOUNT}:user/{who}"
    with pytest.raises(botocore.exceptions.ClientError) as caught:
        deploy(client, SOURCE, Role=aws.ROLE, wait=False)
    error = caught.value.response["Error"]
    assert (error["Code"], error["Message"]) == denied(who, "iam:PassRole", aws.ROLE)


def test_a_role_that_does_not_trust_lambda_is_no_role_for_a_function(client, role):
    theirs = role(trust(Service="ec2.amazonaws.com"))
    with pytest.raises(client.exceptions.InvalidParameterValueException) as caught:
        deploy(client, SOURCE, Role=theirs, wait=False)
    assert caught.value.response["Error"]["Message"] == (
        "The role defined for the function cannot be assumed by Lambda."
    )


def test_a_role_has_to_be_allowed_to_use_the_destinations_of_its_function(access, client, role, function):
    sqs = aws.client(access, "sqs")
    url = sqs.create_queue(QueueName=fresh_name("outcomes"))["QueueUrl"]
    queue = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    topic = aws.client(access, "sns").create_topic(Name=fresh_name("outcomes"))["TopicArn"]
    heir = arn(function(SOURCE))
    theirs = role(trust(Service="lambda.amazonaws.com"))
    name = function(SOURCE, Role=theirs)

    def put(destination):
        client.put_function_event_invoke_config(
            FunctionName=name, DestinationConfig={"OnSuccess": {"Destination": destination}}
        )

    operations = {queue: "SendMessage", topic: "Publish", heir: "InvokeFunction"}
    for destination, operation in operations.items():
        with pytest.raises(client.exceptions.InvalidParameterValueException) as caught:
            put(destination)
        assert caught.value.response["Error"]["Message"] == (
            f"The function's execution role does not have permissions to call {operation} on {destination}"
        )
    # The queue's own policy will do, and so will the role's.
    its_own = {"Effect": "Allow", "Principal": {"AWS": theirs}, "Action": "sqs:SendMessage", "Resource": queue}
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": document(its_own)})
    put(queue)
    allowed = [allow("sns:Publish", topic), allow("lambda:InvokeFunction", heir)]
    iam = aws.client(access, "iam")
    iam.put_role_policy(RoleName=theirs.rsplit("/", 1)[1], PolicyName="p", PolicyDocument=document(*allowed))
    put(topic)
    put(heir)
    sqs.delete_queue(QueueUrl=url)


def test_assume_role(access, user, role, function):
    name = function(SOURCE)
    who, theirs = user()
    ours = role(trust(AWS=f"arn:aws:iam::{aws.ACCOUNT}:user/{who}"),
                allow("lambda:InvokeFunction", arn(name)))  # fmt: skip
    sts = aws.client(theirs, "sts")
    answer = sts.assume_role(RoleArn=ours, RoleSessionName="visit", DurationSeconds=900)
    session = f"arn:aws:sts::{aws.ACCOUNT}:assumed-role/{ours.split('/')[-1]}/visit"
    assert answer["AssumedRoleUser"]["Arn"] == session
    given = answer["Credentials"]
    left = given["Expiration"] - aws.utc_now()
    assert datetime.timedelta(minutes=13) < left <= datetime.timedelta(minutes=15)
    visitor = dataclasses.replace(access, key=given["AccessKeyId"], secret=given["SecretAccessKey"],
                                  token=given["SessionToken"])  # fmt: skip
    assert aws.client(visitor, "sts").get_caller_identity()["Arn"] == session
    assert call(aws.client(visitor), name)[0] == 1
    fails(denied(session, "lambda:GetFunction", arn(name)),
          aws.client(visitor).get_function, FunctionName=name)  # fmt: skip
    for wrong in (
        dataclasses.replace(visitor, token=None),
        dataclasses.replace(visitor, token=given["SessionToken"][:-2] + "xx"),
        dataclasses.replace(visitor, key=access.key),
    ):
        answer = aws.send(wrong, "GET", "/2015-03-31/functions")
        assert (answer.status, answer.error) == (403, "UnrecognizedClientException")
    # A session is no more than its policy.
    answer = sts.assume_role(RoleArn=ours, RoleSessionName="look",
                             Policy=document(allow("lambda:Get*")))["Credentials"]  # fmt: skip
    limited = dataclasses.replace(access, key=answer["AccessKeyId"],
                                  secret=answer["SecretAccessKey"], token=answer["SessionToken"])  # fmt: skip
    fails(denied(session.replace("/visit", "/look"), "lambda:InvokeFunction", arn(name),
                 "because no session policy allows the {} action"),
          aws.client(limited).invoke, FunctionName=name)  # fmt: skip


def test_a_session_ends_with_its_role(client, iam, access, user, function):
    name = function(SOURCE)
    _, theirs = user(allow("sts:AssumeRole"))
    role = {"RoleName": fresh_name("role"),
            "AssumeRolePolicyDocument": trust(AWS=f"arn:aws:iam::{aws.ACCOUNT}:root")}  # fmt: skip
    ours = iam.create_role(**role)["Role"]["Arn"]
    given = aws.client(theirs, "sts").assume_role(RoleArn=ours, RoleSessionName="visit")
    given = given["Credentials"]
    visitor = dataclasses.replace(access, key=given["AccessKeyId"], secret=given["SecretAccessKey"],
                                  token=given["SessionToken"])  # fmt: skip
    client.add_permission(FunctionName=name, StatementId="s", Action="lambda:InvokeFunction",
                          Principal=ours)  # fmt: skip
    assert call(aws.client(visitor), name)[0] == 1
    iam.delete_role(RoleName=role["RoleName"])
    session = f"arn:aws:sts::{aws.ACCOUNT}:assumed-role/{role['RoleName']}/visit"
    expected = denied(session, "lambda:InvokeFunction", arn(name))
    fails(expected, aws.client(visitor).invoke, FunctionName=name)
    iam.create_role(**role)
    fails(expected, aws.client(visitor).invoke, FunctionName=name)
    iam.delete_role(RoleName=role["RoleName"])


def test_a_thing_is_denied_by_any_name(client, user, function):
    name = function(SOURCE, wait=False)
    group = f"arn:aws:logs:us-east-1:{aws.ACCOUNT}:log-group:/secret"
    deny = {"Effect": "Deny", "Action": "*", "Resource": [arn(name), f"{group}:*"]}
    who, access = user(allow("*"), deny)
    who = f"arn:aws:iam::{aws.ACCOUNT}:user/{who}"
    why = "with an explicit deny in an identity-based policy"
    expected = denied(who, "lambda:GetFunction", arn(name), why)
    for spelled in (name, f"{name}:$LATEST", arn(name).replace(":aws:", ":aws-cn:")):
        fails(expected, aws.client(access).get_function, FunctionName=spelled)
    expected = denied(who, "logs:FilterLogEvents", f"{group}:*", why)
    logs = aws.client(access, "logs")
    for spelled in (group, group.replace(":aws:", ":aws-cn:")):
        fails(expected, logs.filter_log_events, logGroupIdentifier=spelled)


def test_code_and_layers_need_leave_of_their_own(user, function):
    name = function(SOURCE, wait=False)
    who, access = user(allow("lambda:Update*"))
    who = f"arn:aws:iam::{aws.ACCOUNT}:user/{who}"
    client = aws.client(access)
    fails(denied(who, "s3:GetObject", "arn:aws:s3:::bucket/some/key"),
          client.update_function_code, FunctionName=name, S3Bucket="bucket",
          S3Key="some/key")  # fmt: skip
    layer = f"arn:aws:lambda:us-east-1:{aws.ACCOUNT}:layer:secret:1"
    fails(denied(who, "lambda:GetLayerVersion", layer),
          client.update_function_configuration, FunctionName=name, Layers=[layer])  # fmt: skip


def test_a_role_is_for_those_it_trusts(user, role):
    ours = role(trust(AWS=f"arn:aws:iam::{aws.ACCOUNT}:root"))
    who, access = user()
    who = f"arn:aws:iam::{aws.ACCOUNT}:user/{who}"
    sts = aws.client(access, "sts")
    for target in (ours, ours + "-that-is-not-there"):
        expected = (
            "AccessDenied",
            f"User: {who} is not authorized to perform: sts:AssumeRole on resource: {target}",
        )
        fails(expected, sts.assume_role, RoleArn=target, RoleSessionName="visit")
    _, allowed = user(allow("sts:AssumeRole", ours))
    aws.client(allowed, "sts").assume_role(RoleArn=ours, RoleSessionName="visit")


def test_session_token(access, user):
    who, theirs = user(allow("lambda:ListFunctions"))
    given = aws.client(theirs, "sts").get_session_token()["Credentials"]
    session = dataclasses.replace(access, key=given["AccessKeyId"], secret=given["SecretAccessKey"],
                                  token=given["SessionToken"])  # fmt: skip
    assert aws.client(session, "sts").get_caller_identity()["Arn"].endswith(f":user/{who}")
    aws.client(session).list_functions()


def test_a_user_is_named_with_its_path(iam, access):
    name = fresh_name("user")
    mine = f"arn:aws:iam::{aws.ACCOUNT}:user/team/{name}"
    assert iam.create_user(UserName=name, Path="/team/")["User"]["Arn"] == mine
    iam.put_user_policy(UserName=name, PolicyName="p",
                        PolicyDocument=document(allow("iam:GetUser", mine)))  # fmt: skip
    key = iam.create_access_key(UserName=name)["AccessKey"]
    theirs = dataclasses.replace(access, key=key["AccessKeyId"], secret=key["SecretAccessKey"])
    own = aws.client(theirs, "iam")
    assert own.get_user()["User"]["Arn"] == mine
    assert own.get_user(UserName=name)["User"]["Arn"] == mine
    _, message = denied(mine, "iam:ListAccessKeys", mine)
    fails(("AccessDenied", message), own.list_access_keys)
    iam.delete_access_key(UserName=name, AccessKeyId=key["AccessKeyId"])
    iam.delete_user_policy(UserName=name, PolicyName="p")
    iam.delete_user(UserName=name)


def test_a_key_that_was_switched_off(iam, user):
    name, access = user(allow("*"))
    assert aws.send(access, "GET", "/2015-03-31/functions").status == 200
    iam.update_access_key(UserName=name, AccessKeyId=access.key, Status="Inactive")
    answer = aws.send(access, "GET", "/2015-03-31/functions")
    assert (answer.status, answer.error) == (403, "UnrecognizedClientException")


def test_the_way_of_terraform_and_sam(iam):
    """What the tools do to the role of a function, in their order."""
    name = fresh_name("role")
    made = iam.create_role(RoleName=name, Path="/app/", Description="d",
                           AssumeRolePolicyDocument=trust(Service="lambda.amazonaws.com"),
                           Tags=[{"Key": "a", "Value": "b"}])["Role"]  # fmt: skip
    assert made["Arn"] == f"arn:aws:iam::{aws.ACCOUNT}:role/app/{name}"
    assert made["RoleId"].startswith("AROA")
    iam.get_waiter("role_exists").wait(RoleName=name)
    read = iam.get_role(RoleName=name)["Role"]
    assert read["AssumeRolePolicyDocument"]["Statement"][0]["Principal"] == {
        "Service": "lambda.amazonaws.com"
    }
    assert (read["Tags"], read["MaxSessionDuration"]) == ([{"Key": "a", "Value": "b"}], 3600)
    basic = "arn:aws:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole"
    iam.attach_role_policy(RoleName=name, PolicyArn=basic)
    assert iam.list_attached_role_policies(RoleName=name)["AttachedPolicies"] == [
        {"PolicyName": "AWSLambdaBasicExecutionRole", "PolicyArn": basic}
    ]
    assert iam.list_role_policies(RoleName=name)["PolicyNames"] == []
    iam.put_role_policy(RoleName=name, PolicyName="inline", PolicyDocument=document(allow("s3:*")))
    inline = iam.get_role_policy(RoleName=name, PolicyName="inline")
    assert inline["PolicyDocument"]["Statement"][0]["Action"] == "s3:*"
    with pytest.raises(iam.exceptions.DeleteConflictException):
        iam.delete_role(RoleName=name)
    assert iam.list_instance_profiles_for_role(RoleName=name)["InstanceProfiles"] == []
    iam.delete_role_policy(RoleName=name, PolicyName="inline")
    iam.detach_role_policy(RoleName=name, PolicyArn=basic)
    assert name in [r["RoleName"] for r in iam.list_roles(PathPrefix="/app/")["Roles"]]
    iam.delete_role(RoleName=name)
    with pytest.raises(iam.exceptions.NoSuchEntityException) as caught:
        iam.get_role(RoleName=name)
    assert f"The role with name {name} cannot be found." in str(caught.value)


def test_managed_policies(iam):
    name = fresh_name("policy")
    policy = iam.create_policy(PolicyName=name, PolicyDocument=document(allow("s3:*")))["Policy"]
    policy_arn = policy["Arn"]
    version = iam.get_policy_version(PolicyArn=policy_arn, VersionId=policy["DefaultVersionId"])
    assert version["PolicyVersion"]["Document"]["Statement"][0]["Action"] == "s3:*"
    iam.create_policy_version(PolicyArn=policy_arn, PolicyDocument=document(allow("sqs:*")),
                              SetAsDefault=True)  # fmt: skip
    assert iam.get_policy(PolicyArn=policy_arn)["Policy"]["DefaultVersionId"] == "v2"
    assert [v["VersionId"] for v in iam.list_policy_versions(PolicyArn=policy_arn)["Versions"]]
    assert policy_arn in [p["Arn"] for p in iam.list_policies(Scope="Local")["Policies"]]
    iam.delete_policy_version(PolicyArn=policy_arn, VersionId="v1")
    iam.delete_policy(PolicyArn=policy_arn)
    with pytest.raises(iam.exceptions.MalformedPolicyDocumentException):
        iam.create_policy(PolicyName=name, PolicyDocument='{"Statement": "everything"}')


def test_who_the_owner_is(iam):
    assert iam.get_user()["User"]["Arn"] == f"arn:aws:iam::{aws.ACCOUNT}:root"


def test_all_of_it_outlives_the_server(own_server):
    server = own_server()
    iam = aws.client(server.access(), "iam")
    iam.create_user(UserName="alice")
    iam.put_user_policy(UserName="alice", PolicyName="p",
                        PolicyDocument=document(allow("lambda:ListFunctions")))  # fmt: skip
    key = iam.create_access_key(UserName="alice")["AccessKey"]
    access = dataclasses.replace(server.access(), key=key["AccessKeyId"],
                                 secret=key["SecretAccessKey"])  # fmt: skip
    given = aws.client(access, "sts").get_session_token()["Credentials"]
    server.stop()
    server.start()
    access = dataclasses.replace(access, endpoint=server.access().endpoint)
    session = dataclasses.replace(access, key=given["AccessKeyId"], secret=given["SecretAccessKey"],
                                  token=given["SessionToken"])  # fmt: skip
    for again in (access, session):
        aws.client(again).list_functions()
        assert aws.send(again, "GET", "/2015-03-31/functions/f").status == 403


def test_off_means_off(own_server):
    server = own_server(config='[iam]\nmode = "off"\n')
    iam = aws.client(server.access(), "iam")
    iam.create_user(UserName="alice")
    key = iam.create_access_key(UserName="alice")["AccessKey"]
    access = dataclasses.replace(server.access(), key=key["AccessKeyId"],
                                 secret=key["SecretAccessKey"])  # fmt: skip
    assert aws.send(access, "GET", "/2015-03-31/functions").status == 200
