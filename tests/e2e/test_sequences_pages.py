"""Every paginator that boto3 has for an operation served here, over more than one page."""

import json
import pathlib

import pytest
from harness import aws, code, place
from harness.functions import call, deploy, fresh_name
from harness.leftovers import wait_until

UNCOVERED = pathlib.Path(__file__).resolve().parents[2] / "conformance" / "uncovered.txt"
HELLO = "def handler(event, context):\n    print('one')\n    print('two')\n    return event\n"
PROFILE = f"arn:aws:signer:us-east-1:{aws.ACCOUNT}:/signing-profiles/lamp/0123456789"
TRUST = json.dumps({
    "Version": "2012-10-17",
    "Statement": [
        {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
    ],
})  # fmt: skip

# Lists that have no second page here, and why.
SHORT = {
    "ListGroupsForUser": "there are no groups",
    "ListInstanceProfilesForRole": "there are no instance profiles",
    "GetDurableExecutionHistory": "tested with durable executions",
    "GetDurableExecutionState": "tested with durable executions",
    "ListDurableExecutionsByFunction": "tested with durable executions",
}


def policy(number):
    action = f"sqs:Get{number}*"
    return json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": action, "Resource": "*"}]})


class World:
    """One of everything that is listed in pages, three times or more."""

    def __init__(self, server):
        self.server = server
        self.lambda_, self.iam, self.logs = (server.client(one) for one in ("lambda", "iam", "logs"))
        self.sqs = server.client("sqs")
        self.functions()
        self.belongings()
        self.others()
        self.identities()
        self.streams()

    def functions(self):
        client = self.lambda_
        config = {"LambdaManagedInstancesCapacityProviderConfig": {"CapacityProviderArn": self.provider("users")}}
        # Provisioned concurrency is not for functions with a capacity provider.
        self.name = deploy(client, HELLO)
        self.names = [self.name] + [deploy(client, HELLO, CapacityProviderConfig=config) for _ in range(3)]
        for number in (1, 2, 3):
            client.update_function_configuration(FunctionName=self.name, Description=str(number))
            client.get_waiter("function_updated_v2").wait(FunctionName=self.name)
            client.publish_version(FunctionName=self.name)
            client.get_waiter("published_version_active").wait(
                FunctionName=self.name, Qualifier=str(number), WaiterConfig={"Delay": 1}
            )
            client.create_alias(FunctionName=self.name, Name=f"a{number}", FunctionVersion=str(number))

    def provider(self, name):
        made = self.lambda_.create_capacity_provider(
            CapacityProviderName=name, VpcConfig={"SubnetIds": ["subnet-1"], "SecurityGroupIds": ["sg-1"]},
            PermissionsConfig={"CapacityProviderOperatorRoleArn": aws.ROLE},
        )  # fmt: skip
        return made["CapacityProvider"]["CapacityProviderArn"]

    def belongings(self):
        client = self.lambda_
        for number in (1, 2, 3):
            alias = {"FunctionName": self.name, "Qualifier": f"a{number}"}
            client.create_function_url_config(**alias, AuthType="NONE")
            client.put_function_event_invoke_config(**alias, MaximumRetryAttempts=1)
            client.put_provisioned_concurrency_config(**alias, ProvisionedConcurrentExecutions=1)
            self.sqs.create_queue(QueueName=f"q{number}")
            client.create_event_source_mapping(
                FunctionName=self.name, EventSourceArn=f"arn:aws:sqs:us-east-1:{aws.ACCOUNT}:q{number}"
            )

    def others(self):
        client = self.lambda_
        for number in (1, 2, 3):
            for name in (f"layer{number}", "layer"):
                client.publish_layer_version(LayerName=name, Content={"ZipFile": code.zipped({"a": str(number)})})
            self.provider(f"p{number}")
            made = client.create_code_signing_config(AllowedPublishers={"SigningProfileVersionArns": [PROFILE]})
            self.signing = made["CodeSigningConfig"]["CodeSigningConfigArn"]
        for name in self.names:
            client.put_function_code_signing_config(FunctionName=name, CodeSigningConfigArn=self.signing)

    def identities(self):
        iam = self.iam
        tags = [{"Key": f"t{number}", "Value": "v"} for number in range(3)]
        for number in (1, 2, 3):
            iam.create_user(UserName=f"u{number}", Tags=tags)
            iam.create_role(RoleName=f"r{number}", AssumeRolePolicyDocument=TRUST, Tags=tags)
            made = iam.create_policy(PolicyName=f"p{number}", PolicyDocument=policy(0), Tags=tags)
            self.policy = made["Policy"]["Arn"]
            iam.attach_user_policy(UserName="u1", PolicyArn=self.policy)
            iam.attach_role_policy(RoleName="r1", PolicyArn=self.policy)
            iam.put_user_policy(UserName="u1", PolicyName=f"in{number}", PolicyDocument=policy(number))
            iam.put_role_policy(RoleName="r1", PolicyName=f"in{number}", PolicyDocument=policy(number))
        for number in (1, 2):
            iam.create_policy_version(PolicyArn=self.policy, PolicyDocument=policy(number))
            iam.create_access_key(UserName="u1")
            iam.attach_role_policy(RoleName=f"r{number + 1}", PolicyArn=self.policy)

    def streams(self):
        self.group = f"/aws/lambda/{self.name}"
        call(self.lambda_, self.name)
        for number in (1, 2, 3):
            self.logs.create_log_group(logGroupName=f"/group/{number}")
            wait_until(lambda: self.groups(), "the group of the function")
            self.logs.create_log_stream(logGroupName=self.group, logStreamName=f"s{number}")

    def groups(self):
        return self.logs.describe_log_groups(logGroupNamePrefix=self.group)["logGroups"]

    def listings(self):
        """By the name of the operation: service and arguments of a list of more than one page."""
        name, user, role = {"FunctionName": self.name}, {"UserName": "u1"}, {"RoleName": "r1"}
        arn = {"PolicyArn": self.policy}
        return {
            "ListAliases": ("lambda", name),
            "ListCapacityProviders": ("lambda", {}),
            "ListCodeSigningConfigs": ("lambda", {}),
            "ListEventSourceMappings": ("lambda", name),
            "ListFunctionEventInvokeConfigs": ("lambda", name),
            "ListFunctionUrlConfigs": ("lambda", name),
            "ListFunctionVersionsByCapacityProvider": ("lambda", {"CapacityProviderName": "users"}),
            "ListFunctions": ("lambda", {"FunctionVersion": "ALL"}),
            "ListFunctionsByCodeSigningConfig": ("lambda", {"CodeSigningConfigArn": self.signing}),
            "ListLayerVersions": ("lambda", {"LayerName": "layer"}),
            "ListLayers": ("lambda", {}),
            "ListProvisionedConcurrencyConfigs": ("lambda", name),
            "ListVersionsByFunction": ("lambda", name),
            "ListAccessKeys": ("iam", user),
            "ListAttachedRolePolicies": ("iam", role),
            "ListAttachedUserPolicies": ("iam", user),
            "ListEntitiesForPolicy": ("iam", arn),
            "ListPolicies": ("iam", {"Scope": "Local"}),
            "ListPolicyTags": ("iam", arn),
            "ListPolicyVersions": ("iam", arn),
            "ListRolePolicies": ("iam", role),
            "ListRoleTags": ("iam", role),
            "ListRoles": ("iam", {}),
            "ListUserPolicies": ("iam", user),
            "ListUserTags": ("iam", user),
            "ListUsers": ("iam", {}),
            "DescribeLogGroups": ("logs", {}),
            "DescribeLogStreams": ("logs", {"logGroupName": self.group}),
            "FilterLogEvents": ("logs", {"logGroupName": self.group}),
        }


@pytest.fixture(scope="module")
def world():
    from harness.server import Server

    with Server() as server:
        yield World(server)


def served(client):
    """The paginators that boto3 has for operations that are served."""
    service = client.meta.service_model
    lines = UNCOVERED.read_text().splitlines()
    missing = {line.split()[1] for line in lines if line.startswith(f"{service.service_name} ")}
    names = {xform: name for name, xform in ((one, pythonic(client, one)) for one in service.operation_names)}
    trimmed = {"iam": trimmed_model("iam")}.get(service.service_name)
    return {
        name
        for xform, name in names.items()
        if client.can_paginate(xform) and name not in missing and (trimmed is None or name in trimmed)
    }


def pythonic(client, operation):
    names = client.meta.method_to_api_mapping
    return next(method for method, name in names.items() if name == operation)


def trimmed_model(service):
    path = pathlib.Path(__file__).resolve().parents[2] / "crates" / "wire" / "models" / f"{service}.json"
    return set(json.loads(path.read_text())["operations"])


def test_every_paginator(world):
    listings = world.listings()
    clients = {"lambda": world.lambda_, "iam": world.iam, "logs": world.logs}
    known = set().union(*map(served, clients.values()))
    assert known - set(SHORT) == set(listings)
    for operation, (service, arguments) in listings.items():
        client = clients[service]
        paginator = client.get_paginator(pythonic(client, operation))
        whole = list(paginator.paginate(**arguments))
        pages = list(paginator.paginate(**arguments, PaginationConfig={"PageSize": 1}))
        items = found(paginator, pages)
        assert len(pages) > 1, operation
        assert items == found(paginator, whole), operation
        assert len(items) > 1 and all(item not in items[:n] for n, item in enumerate(items)), operation
        assert all(len(found(paginator, [page])) <= 1 for page in pages), operation


def found(paginator, pages):
    """All items of the pages, of all lists that the paginator merges."""
    return [item for page in pages for key in paginator.result_keys for item in key.search(page) or []]


def test_a_page_may_be_continued_later(world):
    """As tools do that keep a token between runs: the rest, and nothing twice."""
    paginator = world.lambda_.get_paginator("list_functions")
    first = paginator.paginate(PaginationConfig={"PageSize": 1, "MaxItems": 2}).build_full_result()
    rest = paginator.paginate(PaginationConfig={"StartingToken": first["NextToken"]}).build_full_result()
    names = [one["FunctionName"] for part in (first, rest) for one in part["Functions"]]
    assert names == sorted(world.names)
