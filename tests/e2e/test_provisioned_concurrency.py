"""Provisioned concurrency: environments that are initialised before anybody calls."""

import pytest
from botocore.exceptions import ClientError
from harness import aws, code
from harness.functions import call, deploy
from harness.leftovers import wait_until

SOURCE = """
import os, time
born = time.time()
def handler(event, context):
    time.sleep(event.get("sleep", 0))
    if event.get("crash"):
        os._exit(1)
    return {"born": born, "how": os.environ["AWS_LAMBDA_INITIALIZATION_TYPE"],
            "stream": context.log_stream_name, "version": context.function_version}
"""


def refused(operation, **members):
    with pytest.raises(ClientError) as caught:
        operation(**members)
    error = caught.value.response
    status = error["ResponseMetadata"]["HTTPStatusCode"]
    return status, error["Error"]["Code"], error["Error"]["Message"]


def put(client, name, qualifier, count):
    return client.put_provisioned_concurrency_config(
        FunctionName=name, Qualifier=qualifier, ProvisionedConcurrentExecutions=count
    )


def ready(client, name, qualifier):
    """Waits until it is READY and returns the configuration."""
    got = {}

    def is_ready():
        got.update(
            client.get_provisioned_concurrency_config(FunctionName=name, Qualifier=qualifier)
        )
        return got["Status"] == "READY"

    wait_until(is_ready, lambda: f"READY: {got}", 60)
    return got


def active(client, name, version):
    client.get_waiter("published_version_active").wait(
        FunctionName=name, Qualifier=version, WaiterConfig={"Delay": 1}
    )


@pytest.fixture
def published(client, function):
    name = function(SOURCE, Publish=True)
    active(client, name, "1")
    return name


def test_environments_are_ready_before_the_first_call(client, published):
    made = put(client, published, "1", 2)
    assert made["ResponseMetadata"]["HTTPStatusCode"] == 202
    assert made["Status"] == "IN_PROGRESS"
    assert made["RequestedProvisionedConcurrentExecutions"] == 2
    got = ready(client, published, "1")
    assert got["AvailableProvisionedConcurrentExecutions"] == 2
    assert got["AllocatedProvisionedConcurrentExecutions"] == 2
    first, _ = call(client, published, Qualifier="1")
    assert first["how"] == "provisioned-concurrency"
    latest, _ = call(client, published)
    assert latest["how"] == "on-demand"
    # One that crashes is made again.
    call(client, published, {"crash": True}, Qualifier="1")
    ready(client, published, "1")
    listed = client.list_provisioned_concurrency_configs(FunctionName=published)
    [config] = listed["ProvisionedConcurrencyConfigs"]
    assert config["FunctionArn"].endswith(f":{published}:1")
    assert config["RequestedProvisionedConcurrentExecutions"] == 2
    for _ in range(2):
        gone = client.delete_provisioned_concurrency_config(FunctionName=published, Qualifier="1")
        assert gone["ResponseMetadata"]["HTTPStatusCode"] == 204
    missing = {"FunctionName": published, "Qualifier": "1"}
    assert refused(client.get_provisioned_concurrency_config, **missing) == (
        404,
        "ProvisionedConcurrencyConfigNotFoundException",
        "No Provisioned Concurrency Config found for this function",
    )

    def on_demand():
        return call(client, published, Qualifier="1")[0]["how"] == "on-demand"

    wait_until(on_demand, "the provisioned environments to go")


def test_more_calls_than_are_provisioned_spill_over(client, published):
    from concurrent.futures import ThreadPoolExecutor

    put(client, published, "1", 1)
    ready(client, published, "1")
    with ThreadPoolExecutor(3) as pool:
        ends = list(pool.map(lambda _: call(client, f"{published}:1", {"sleep": 3})[0], range(3)))
    assert sorted(end["how"] for end in ends) == ["on-demand"] * 2 + ["provisioned-concurrency"]


def test_an_alias_takes_its_environments_along(client, published):
    client.create_alias(FunctionName=published, Name="live", FunctionVersion="1")
    put(client, published, "live", 1)
    ready(client, published, "live")
    end, _ = call(client, published, Qualifier="live")
    assert (end["how"], end["version"]) == ("provisioned-concurrency", "1")
    client.update_function_code(
        FunctionName=published, ZipFile=code.python(SOURCE + "\n# two\n"), Publish=True
    )
    active(client, published, "2")
    client.update_alias(FunctionName=published, Name="live", FunctionVersion="2")

    def moved():
        end, _ = call(client, published, Qualifier="live")
        return (end["how"], end["version"]) == ("provisioned-concurrency", "2")

    wait_until(moved, "the alias to have its environments", 60)


def test_a_function_that_cannot_initialise_is_said_to_fail(client, function):
    name = function("raise Exception('no lamp')\n", Publish=True)
    active(client, name, "1")
    put(client, name, "1", 1)
    got = {}

    def failed():
        got.update(client.get_provisioned_concurrency_config(FunctionName=name, Qualifier="1"))
        return got["Status"] == "FAILED"

    wait_until(failed, lambda: f"FAILED: {got}", 60)
    assert got["StatusReason"] and got["AvailableProvisionedConcurrentExecutions"] == 0


def test_it_survives_a_crash_of_the_server(own_server):
    server = own_server()
    client = server.client()
    name = deploy(client, SOURCE, Publish=True)
    active(client, name, "1")
    put(client, name, "1", 1)
    ready(client, name, "1")
    server.kill()
    server.start()
    client = server.client()
    ready(client, name, "1")
    assert call(client, name, Qualifier="1")[0]["how"] == "provisioned-concurrency"


def test_refusals_have_the_recorded_texts(client, published):
    name = published
    arn = client.get_function_configuration(FunctionName=name)["FunctionArn"]
    client.create_alias(FunctionName=name, Name="live", FunctionVersion="1")
    client.create_alias(FunctionName=name, Name="newest", FunctionVersion="$LATEST")
    invalid = (400, "InvalidParameterValueException")
    missing = (404, "ResourceNotFoundException")
    conflict = (409, "ResourceConflictException")

    def refuse(qualifier, count=1, function=name):
        return refused(
            client.put_provisioned_concurrency_config, FunctionName=function,
            Qualifier=qualifier, ProvisionedConcurrentExecutions=count,
        )  # fmt: skip

    unpublished = "Provisioned Concurrency Configs cannot be applied to unpublished function versions."
    assert refuse("$LATEST") == (*invalid, unpublished)
    assert refuse("newest") == (*invalid, unpublished)
    assert refuse("noalias") == (*missing, f"Cannot find alias arn: {arn}:noalias")
    other = arn.removesuffix(name) + "doesnotexist"
    assert refuse("noalias", function="doesnotexist") == (
        *missing, f"Cannot find alias arn: {other}:noalias"
    )  # fmt: skip
    assert refuse("1", function="doesnotexist") == (*missing, f"Function not found: {other}:1")
    assert refuse("10") == (*missing, f"Function not found: {arn}:10")
    get = client.get_provisioned_concurrency_config
    assert refused(get, FunctionName=name, Qualifier="$LATEST") == (
        *invalid, "The function resource provided must be an alias or a published version."
    )  # fmt: skip
    assert refused(get, FunctionName=name, Qualifier="doesnotexist") == (
        *missing, f"Cannot find alias arn: {arn}:doesnotexist"
    )  # fmt: skip
    left = client.get_account_settings()["AccountLimit"]["UnreservedConcurrentExecutions"]
    assert refuse("1", left + 1) == (
        *invalid,
        "Specified ConcurrentExecutions for function is greater than account's unreserved"
        f" concurrency [{left}].",
    )
    assert refuse("1", left - 99) == (
        *invalid,
        "Specified ConcurrentExecutions for function decreases account's"
        " UnreservedConcurrentExecution below its minimum value of [100].",
    )
    client.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=1)
    assert refuse("1", 2) == (
        *invalid,
        "Requested Provisioned Concurrency should not be greater than the"
        " reservedConcurrentExecution for function",
    )
    client.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=2)
    put(client, name, "1", 2)
    reserve = {"FunctionName": name, "ReservedConcurrentExecutions": 1}
    assert refused(client.put_function_concurrency, **reserve) == (
        *invalid,
        " ReservedConcurrentExecutions  1 should not be lower than function's total provisioned"
        " concurrency [2].",
    )
    assert refuse("live") == (
        *conflict,
        "Alias can't be used for Provisioned Concurrency configuration on an already Provisioned"
        " version",
    )
    client.delete_provisioned_concurrency_config(FunctionName=name, Qualifier="1")
    put(client, name, "live", 1)
    assert refuse("1") == (*conflict, "Version is pointed by a Provisioned Concurrency alias")


def test_scaling_configurations_are_kept(client, published, function):
    config = {"MinExecutionEnvironments": 1, "MaxExecutionEnvironments": 4}
    which = {"FunctionName": published, "Qualifier": "1"}
    assert refused(client.put_function_scaling_config, **which, FunctionScalingConfig=config) == (
        403,
        "AccessDeniedException",
        "The function provided by the arn does not contain a capacity provider configuration",
    )
    provider = f"arn:aws:lambda:us-east-1:{aws.ACCOUNT}:capacity-provider:any"
    managed = {"LambdaManagedInstancesCapacityProviderConfig": {"CapacityProviderArn": provider}}
    name = function(SOURCE, Publish=True, CapacityProviderConfig=managed)
    active(client, name, "1")
    which = {"FunctionName": name, "Qualifier": "1"}
    got = client.get_function_scaling_config(**which)
    assert got["FunctionArn"].endswith(f":{name}:1")
    assert "AppliedFunctionScalingConfig" not in got
    put = client.put_function_scaling_config(**which, FunctionScalingConfig=config)
    assert put["ResponseMetadata"]["HTTPStatusCode"] == 202
    got = client.get_function_scaling_config(**which)
    assert got["AppliedFunctionScalingConfig"] == got["RequestedFunctionScalingConfig"] == config
    config = {"MinExecutionEnvironments": 5, "MaxExecutionEnvironments": 4}
    assert refused(client.put_function_scaling_config, **which, FunctionScalingConfig=config)[0] == 400
    client.put_function_scaling_config(**which, FunctionScalingConfig={})
    assert "AppliedFunctionScalingConfig" not in client.get_function_scaling_config(**which)
