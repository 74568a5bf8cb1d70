"""Durable functions made with AWS's own SDK, unchanged, and what is asked about their executions."""

import functools
import importlib.util
import json

import pytest

from . import code, place
from .functions import deploy, fresh_name
from .leftovers import wait_until

SDK = "aws_durable_execution_sdk_python"

needs_sdk = pytest.mark.skipif(
    importlib.util.find_spec(SDK) is None, reason="aws-durable-execution-sdk-python is not installed"
)

PRELUDE = """
import json, os, time
import boto3
from aws_durable_execution_sdk_python import (
    CallbackError, InvokeError, StepError, durable_execution,
)
from aws_durable_execution_sdk_python.config import CallbackConfig, Duration, StepConfig
from aws_durable_execution_sdk_python.retries import RetryDecision
from aws_durable_execution_sdk_python.waits import WaitForConditionConfig, WaitForConditionDecision

def seconds(number):
    return Duration.from_seconds(number)

def retried(most, delay=1):
    def strategy(error, attempt):
        return RetryDecision(should_retry=attempt < most, delay=seconds(delay))
    return StepConfig(retry_strategy=strategy)

"""


@functools.cache
def libraries():
    """The SDK with all it needs, as a package for functions would have it."""
    import botocore

    site = place.pathlib.Path(botocore.__file__).parent.parent
    files = code.tree(site, SDK, "boto3", "botocore", "s3transfer", "jmespath", "dateutil",
                      "urllib3", "six.py")  # fmt: skip

    def wanted(path):
        parts = path.split("/")
        # Of all the services' models only Lambda's.
        return "data" not in parts[:2] or len(parts) < 4 or parts[2] == "lambda"

    return {path: content for path, content in files.items() if wanted(path)}


def package(source):
    return code.zipped({**libraries(), "app.py": PRELUDE + source})


TRUST = json.dumps({
    "Version": "2012-10-17",
    "Statement": [{
        "Effect": "Allow", "Action": "sts:AssumeRole",
        "Principal": {"Service": "lambda.amazonaws.com"},
    }],
})  # fmt: skip
CALLS = json.dumps({
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Action": "lambda:InvokeFunction", "Resource": "*"}],
})  # fmt: skip
MANAGED = "arn:aws:iam::aws:policy/service-role/AWSLambdaBasicDurableExecutionRolePolicy"


def make_role(iam):
    """A role for durable functions that call others."""
    name = fresh_name("durable-role")
    role = iam.create_role(RoleName=name, AssumeRolePolicyDocument=TRUST)["Role"]["Arn"]
    iam.attach_role_policy(RoleName=name, PolicyArn=MANAGED)
    iam.put_role_policy(RoleName=name, PolicyName="calls", PolicyDocument=CALLS)
    return role


def remove_role(iam, role):
    name = role.split("/")[-1]
    iam.delete_role_policy(RoleName=name, PolicyName="calls")
    iam.detach_role_policy(RoleName=name, PolicyArn=MANAGED)
    iam.delete_role(RoleName=name)


def deploy_durable(client, source, role, timeout=600, **settings):
    """A durable function; the answer is its name with the qualifier that a call needs."""
    settings = {"MemorySize": 512, "Timeout": 30, "Role": role,
                "FunctionName": fresh_name("durable"), **settings}  # fmt: skip
    config = {"ExecutionTimeout": timeout, "RetentionPeriodInDays": 7}
    return deploy(client, package(source), DurableConfig=config, **settings) + ":$LATEST"


def begin(client, name, event=None, **settings):
    """Starts an execution that nobody waits for; returns its ARN."""
    answer = client.invoke(
        FunctionName=name, InvocationType="Event", Payload=json.dumps(event or {}), **settings
    )
    assert answer["StatusCode"] == 202, answer
    return answer["DurableExecutionArn"]


def status(client, arn):
    return client.get_durable_execution(DurableExecutionArn=arn)["Status"]


def ended(client, arn, timeout=60):
    """The execution, once it has ended."""

    def look():
        got = client.get_durable_execution(DurableExecutionArn=arn)
        return got if got["Status"] not in ("RUNNING", "PAUSING", "PAUSED") else None

    return wait_until(look, lambda: f"the end of {arn}: {kinds(client, arn)}", timeout)


def events(client, arn, **settings):
    return client.get_durable_execution_history(DurableExecutionArn=arn, **settings)["Events"]


def kinds(client, arn):
    return [event["EventType"] for event in events(client, arn)]


def callback_id(client, arn):
    """The id of the callback that an execution waits for, once it does."""

    def look():
        for event in events(client, arn):
            if event["EventType"] == "CallbackStarted":
                return event["CallbackStartedDetails"]["CallbackId"]
        return None

    return wait_until(look, "a callback", 30)


