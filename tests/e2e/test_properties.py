"""Every operation that is served, with requests made from its model: a valid one is never answered
with a 5xx, with an error that is not its own, or not at all; one that breaks the model is refused
in the model's words.

`LAMPLIGHT_TEST_REQUESTS` is how many of each kind every operation gets, `LAMPLIGHT_TEST_SEED` what
they are made from.
"""

import http.client
import json
import os
import random

import pytest
from harness import aws, models, place
from harness.models import Maker, Service, Unmakeable

REQUESTS = int(os.environ.get("LAMPLIGHT_TEST_REQUESTS", "6"))
SEED = int(os.environ.get("LAMPLIGHT_TEST_SEED", "1"))
SERVICES = ("lambda", "iam", "sts", "logs")
# Of any operation, though no model says so.
COMMON = {
    "AccessDenied", "AccessDeniedException", "InvalidParameterValueException", "ValidationException",
    "ValidationError", "ResourceNotFoundException", "InvalidParameterException", "MalformedPolicyDocument",
    "NoSuchEntity", "SerializationException",
}  # fmt: skip
INVALID = {"lambda": "ValidationException", "logs": "InvalidParameterException"}
# What the service judges by its own code, in other words than its framework's.
OWN_WORDS = {
    "Runtime", "CompatibleRuntimes", "MemorySize", "EphemeralStorage", "LogGroupIdentifier", "ResourceArn",
    "RetentionInDays", "Timeout",
}  # fmt: skip

FUNCTIONS = ("lamp", "lantern", "torch")
ARN = f"arn:aws:lambda:us-east-1:{aws.ACCOUNT}"
TRUST = json.dumps({
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Principal": {"AWS": aws.ACCOUNT}, "Action": "sts:AssumeRole"}],
})  # fmt: skip
ALLOW = json.dumps({
    "Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "lambda:*", "Resource": "*"}],
})  # fmt: skip


class World:
    """Things that requests may name, so that they get past the first look-up."""

    def __init__(self, server):
        self.server = server
        self.client = server.client()
        self.uuids, self.signing = [], []

    def ensure(self):
        """Makes again what random requests deleted."""
        for name in FUNCTIONS:
            self.tried(
                self.client.create_function, FunctionName=name, Role=aws.ROLE, Handler="app.handler",
                Runtime=place.python_runtime(), Code={"ZipFile": models.GOOD},
                Publish=True, DurableConfig={"ExecutionTimeout": 60},
            )  # fmt: skip
            self.tried(self.client.create_alias, FunctionName=name, Name="live", FunctionVersion="1")
        self.tried(self.server.client("sqs").create_queue, QueueName="q")
        self.tried(
            self.client.create_event_source_mapping, FunctionName="lamp",
            EventSourceArn=f"arn:aws:sqs:us-east-1:{aws.ACCOUNT}:q",
        )  # fmt: skip
        self.tried(self.client.publish_layer_version, LayerName="glass", Content={"ZipFile": models.GOOD})
        mappings = self.client.list_event_source_mappings()["EventSourceMappings"]
        self.uuids = [one["UUID"] for one in mappings]
        configs = self.client.list_code_signing_configs()["CodeSigningConfigs"]
        self.signing = [one["CodeSigningConfigArn"] for one in configs]
        iam, logs = self.server.client("iam"), self.server.client("logs")
        self.tried(iam.create_role, RoleName="watchman", AssumeRolePolicyDocument=TRUST)
        self.tried(iam.create_user, UserName="watchman")
        self.tried(iam.create_policy, PolicyName="watch", PolicyDocument=ALLOW)
        self.tried(logs.create_log_group, logGroupName="street")
        self.tried(logs.create_log_stream, logGroupName="street", logStreamName="night")

    def tried(self, operation, **arguments):
        try:
            operation(**arguments)
        except operation.__self__.exceptions.ClientError:
            pass

    def known(self, member, shape, random):
        """A value for a member that means something here; None for one made by the model alone."""
        if member in ("ProvisionedConcurrentExecutions", "MinExecutionEnvironments"):
            return random.choice([1, 2, 100_000])  # Each may start an environment.
        if member == "InvocationType":
            return random.choice(["RequestResponse", "DryRun"])
        if random.random() < 0.25:
            return None
        name = random.choice(FUNCTIONS)
        qualified = random.choice(["", ":1", ":live", ":$LATEST"])
        choices = {
            "FunctionName": [name, name + qualified, f"{ARN}:function:{name}{qualified}"],
            "FunctionArn": [f"{ARN}:function:{name}"],
            "Qualifier": ["1", "live", "$LATEST"],
            "FunctionVersion": ["1", "$LATEST", "ALL"],
            "AdditionalVersionWeights": [{"1": 0.5}],
            "Name": ["live"],
            "LayerName": ["glass", f"{ARN}:layer:glass"],
            "Layers": [[f"{ARN}:layer:glass:1"], []],
            "Arn": [f"{ARN}:layer:glass:1"],
            "VersionNumber": [1],
            "UUID": self.uuids or [None],
            "CodeSigningConfigArn": self.signing or [None],
            "Resource": [f"{ARN}:function:{name}"],
            "ResourceArn": [f"{ARN}:function:{name}"],
            "ZipFile": [models.package(random)],
            "Runtime": [models.runtime(random)],
            "Role": [aws.ROLE],
            "Handler": ["app.handler"],
            "Architectures": [["x86_64"]],
            "EventSourceArn": [
                f"arn:aws:sqs:us-east-1:{aws.ACCOUNT}:{name}",
                f"arn:aws:kinesis:us-east-1:{aws.ACCOUNT}:stream/{name}",
            ],
            "Policy": [ALLOW], "PolicyDocument": [ALLOW, "{}"], "AssumeRolePolicyDocument": [TRUST],
            "UserName": ["watchman"], "RoleName": ["watchman"], "PolicyName": ["watch"],
            "PolicyArn": [f"arn:aws:iam::{aws.ACCOUNT}:policy/watch"],
            "RoleArn": [f"arn:aws:iam::{aws.ACCOUNT}:role/watchman"],
            "VersionId": ["v1"],
            "logGroupName": ["street"], "logStreamName": ["night"],
            "resourceArn": [f"arn:aws:logs:us-east-1:{aws.ACCOUNT}:log-group:street"],
            # Nobody is asked for an image or an object in a test.
            "ImageUri": [""], "S3Bucket": [""], "RevisionId": [None], "Marker": [None],
        }.get(member)  # fmt: skip
        return random.choice(choices) if choices else None


class Campaign:
    def __init__(self, server, seed):
        self.access, self.world = server.access(), World(server)
        self.random = random.Random(seed)
        self.maker = Maker(self.random, self.world.known)
        self.sent = self.answered = 0
        self.failures = []

    def rounds(self, kind, services):
        works = [(service, name) for service in services for name in service.operations]
        for number in range(REQUESTS):
            self.world.ensure()
            self.random.shuffle(works)
            for service, name in works:
                kind(service, service.model.operation_model(name))
                assert len(self.failures) < 20, self.told()

    def told(self):
        return f"seed {SEED}, {self.sent} requests, {len(self.failures)} failures:\n" + "\n\n".join(self.failures)

    def send(self, service, operation, request):
        self.sent += 1
        try:
            return service.send(self.access, operation.name, request)
        except (OSError, http.client.HTTPException, ValueError) as error:
            self.fail(operation, request, f"no answer: {error!r}")
            return None, None

    def fail(self, operation, request, why):
        self.failures.append(f"{operation.name} {request}\n  {why}"[:3000])

    def valid(self, service, operation):
        try:
            request = self.maker.request(operation)
        except Unmakeable:
            return
        answer, read = self.send(service, operation, request)
        if answer is None:
            return
        if answer.status < 300:
            self.answered += 1
            return
        error = read["Error"]
        own = {shape.error_code for shape in operation.error_shapes} | {s.name for s in operation.error_shapes}
        if answer.status >= 500:
            self.fail(operation, request, f"{answer.status} {answer.body[:500]}")
        elif error["Code"] not in own | COMMON:
            self.fail(operation, request, f"an error that is not its own: {error}")
        elif "failed to satisfy constraint" in error.get("Message", "") and not any(
            f"at '{word[0].lower()}{word[1:]}" in error["Message"] for word in OWN_WORDS | {"FunctionName"}
        ):
            self.fail(operation, request, f"refused as invalid: {error}")

    def invalid(self, service, operation):
        if operation.input_shape is None:
            return
        try:
            request, way, wrong = self.maker.broken(operation)
        except Unmakeable:
            return
        if way[0] in OWN_WORDS:
            return
        answer, read = self.send(service, operation, request)
        if answer is None:
            return
        error = (read or {}).get("Error", {})
        place = f"'{'.'.join(step[0].lower() + step[1:] for step in way)}'"
        expected = INVALID.get(service.name, "ValidationError")
        if (answer.status, error.get("Code")) != (400, expected) or place not in error["Message"]:
            self.fail(operation, request, f"{wrong} at {place}, but {answer.status} {answer.body[:500]}")


@pytest.fixture
def campaign(own_server):
    server = own_server()
    yield Campaign(server, SEED)
    assert "panicked" not in server.log()


@pytest.mark.timeout(60 + REQUESTS * 60)
def test_what_the_models_allow(campaign):
    campaign.rounds(campaign.valid, [Service(name) for name in SERVICES])
    assert not campaign.failures, campaign.told()
    # Else nothing of this says anything.
    assert campaign.answered * 4 > campaign.sent, f"{campaign.answered} of {campaign.sent}"


@pytest.mark.timeout(60 + REQUESTS * 60)
def test_what_the_models_forbid(campaign):
    campaign.rounds(campaign.invalid, [Service(name) for name in SERVICES])
    assert not campaign.failures, campaign.told()
    assert campaign.sent > 50 * REQUESTS
