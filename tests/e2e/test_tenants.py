"""Functions that isolate tenants: an environment is one tenant's alone."""

import concurrent.futures
import json

import botocore.exceptions
import pytest
from harness import aws, code, place
from harness.functions import call, deploy, fresh_name
from harness.refusals import refused
from test_json_logs import json_logs, lines, only

PER_TENANT = {"TenantIsolationMode": "PER_TENANT"}

REMEMBERS = """
import os

seen = []

def handler(event, context):
    there = sorted(os.listdir("/tmp"))
    open("/tmp/" + context.tenant_id.replace("/", "_"), "w").close()
    seen.append(context.tenant_id)
    if event.get("fail"):
        os._exit(1)
    return {"tenant": context.tenant_id, "seen": seen, "there": there}
"""


def invalid(client, operation, **arguments):
    message, status = refused(client, "InvalidParameterValueException", operation, **arguments)
    assert status == 400
    return message


@pytest.fixture
def remembers(function):
    return function(REMEMBERS, TenancyConfig=PER_TENANT)


def test_a_tenant_meets_its_own_traces_and_no_others(client, remembers):
    for tenant in ("blue", "green"):
        assert call(client, remembers, TenantId=tenant)[0] == {
            "tenant": tenant, "seen": [tenant], "there": []
        }  # fmt: skip
    for tenant in ("green", "blue"):
        assert call(client, remembers, TenantId=tenant)[0] == {
            "tenant": tenant, "seen": [tenant] * 2, "there": [tenant]
        }  # fmt: skip


def test_what_survives_a_crash_stays_with_its_tenant(client, remembers):
    for tenant in ("blue", "green"):
        _, answer = call(client, remembers, {"fail": True}, TenantId=tenant)
        assert answer["FunctionError"] == "Unhandled"
    for tenant in ("green", "blue"):
        assert call(client, remembers, TenantId=tenant)[0]["there"] in ([tenant], [])


def test_many_tenants_at_once(client, remembers):
    def one(number):
        return call(client, remembers, TenantId=f"tenant {number % 4}")[0]

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(one, range(24)))
    for number, answer in enumerate(answers):
        tenant = f"tenant {number % 4}"
        assert answer["tenant"] == tenant
        assert set(answer["seen"]) == {tenant} and set(answer["there"]) <= {tenant}


def test_streams_have_a_tenant_too(client, remembers):
    answer = client.invoke_with_response_stream(FunctionName=remembers, TenantId="blue")
    events = list(answer["EventStream"])
    chunks = b"".join(event["PayloadChunk"]["Payload"] for event in events if "PayloadChunk" in event)
    assert json.loads(chunks)["tenant"] == "blue"


def test_a_tenant_is_named_where_it_has_to_be_and_nowhere_else(client, access, function, remembers):
    plain = function("def handler(event, context):\n    return context.tenant_id\n")
    needs = (
        "The invoked function is enabled with tenancy configuration. "
        "Add a valid tenant ID in your request and try again."
    )
    for kind in ("RequestResponse", "DryRun"):
        assert invalid(client, "invoke", FunctionName=remembers, InvocationType=kind) == needs
    message = invalid(client, "invoke", FunctionName=plain, TenantId="blue")
    assert "not enabled with tenancy configuration" in message
    assert call(client, plain)[0] is None
    path = f"/2015-03-31/functions/{remembers}/invocations"
    for bad in ("a" * 257, "a#b", "a,b", "a|b"):
        answer = aws.send(access, "POST", path, b"{}", {"X-Amz-Tenant-Id": bad})
        assert answer.status == 400, (bad, answer.body)
    strange = "a.b:c/d=e+f-g@h i_J9"
    assert call(client, remembers, TenantId=strange)[0]["tenant"] == strange
    longest = "a" * 256
    assert client.invoke(FunctionName=remembers, InvocationType="DryRun", TenantId=longest)["StatusCode"] == 204


def test_tenancy_is_for_life(client, remembers):
    config = client.get_function_configuration(FunctionName=remembers)
    assert config["TenancyConfig"] == PER_TENANT
    client.update_function_configuration(FunctionName=remembers, Timeout=21)
    client.get_waiter("function_updated_v2").wait(FunctionName=remembers)
    version = client.publish_version(FunctionName=remembers)
    assert version["TenancyConfig"] == PER_TENANT
    client.get_waiter("published_version_active").wait(FunctionName=remembers, Qualifier=version["Version"])
    answer, _ = call(client, remembers, TenantId="blue", Qualifier=version["Version"])
    assert answer["seen"] == ["blue"]


def test_tenancy_goes_with_nothing_that_is_made_ahead(client, remembers):
    version = client.publish_version(FunctionName=remembers)["Version"]
    queue = f"arn:aws:sqs:us-east-1:{aws.ACCOUNT}:queue"
    for operation, settings in [
        ("put_provisioned_concurrency_config",
         {"Qualifier": version, "ProvisionedConcurrentExecutions": 1}),
        ("create_function_url_config", {"AuthType": "AWS_IAM"}),
        ("create_event_source_mapping", {"EventSourceArn": queue}),
    ]:  # fmt: skip
        assert "tenant isolation" in invalid(client, operation, FunctionName=remembers, **settings)
    with pytest.raises(botocore.exceptions.ClientError, match="tenant isolation"):
        deploy(client, REMEMBERS, FunctionName=fresh_name(), Runtime="java21",
               TenancyConfig=PER_TENANT, SnapStart={"ApplyOn": "PublishedVersions"})  # fmt: skip


def test_logs_say_whose_call_it_was(client, function):
    name = function(
        "import logging\ndef handler(event, context):\n    logging.warning('lit')\n",
        TenancyConfig=PER_TENANT, LoggingConfig=json_logs(SystemLogLevel="DEBUG"),
    )  # fmt: skip
    tail = lines(call(client, name, LogType="Tail", TenantId="blue")[1])
    for kind in ("platform.start", "platform.runtimeDone", "platform.report"):
        assert only(tail, kind)["tenantId"] == "blue"
    [said] = [line for line in tail if isinstance(line, dict) and line.get("message") == "lit"]
    assert said["tenantId"] == "blue"


def test_node_has_the_tenant_in_context_and_log(client, function):
    if place.node_runtime() is None:
        pytest.skip("no Node.js on this machine")
    name = function(
        code.node("export const handler = async (e, context) => { console.info('lit'); return context.tenantId; };"),
        Runtime=place.node_runtime(), Handler="index.handler",
        TenancyConfig=PER_TENANT, LoggingConfig=json_logs(),
    )  # fmt: skip
    payload, answer = call(client, name, LogType="Tail", TenantId="blue")
    assert payload == "blue"
    [said] = [line for line in lines(answer) if isinstance(line, dict) and line.get("message") == "lit"]
    assert said["tenantId"] == "blue"


def test_the_runtime_api_says_the_tenant(client, function):
    name = function(
        code.bootstrap(
            """\
            #!/bin/sh
            api=http://$AWS_LAMBDA_RUNTIME_API/2018-06-01/runtime
            while true; do
              head=$(mktemp)
              curl -sS -D "$head" -o /dev/null "$api/invocation/next"
              id=$(sed -n 's/^lambda-runtime-aws-request-id: *//Ip' "$head" | tr -d '\\r')
              tenant=$(sed -n 's/^lambda-runtime-aws-tenant-id: *//Ip' "$head" | tr -d '\\r')
              curl -sS -o /dev/null "$api/invocation/$id/response" -d "\\"$tenant\\""
            done
            """
        ),
        Runtime="provided.al2023", Handler="x", TenancyConfig=PER_TENANT,
    )  # fmt: skip
    assert call(client, name, TenantId="blue green")[0] == "blue green"
