"""Reserved concurrency: a share for one function, and its limit."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from botocore.exceptions import ClientError
from harness.functions import call

SLOW = "import time\ndef handler(event, context):\n    time.sleep(event.get('sleep', 0))\n"
UNRESERVED = (
    "Specified ReservedConcurrentExecutions for function decreases account's"
    " UnreservedConcurrentExecution below its minimum value of [100]."
)


def refused(operation, **members):
    with pytest.raises(ClientError) as caught:
        operation(**members)
    error = caught.value.response
    status = error["ResponseMetadata"]["HTTPStatusCode"]
    return status, error["Error"]["Code"], error["Error"]["Message"]


def unreserved(client):
    return client.get_account_settings()["AccountLimit"]["UnreservedConcurrentExecutions"]


def test_zero_stops_a_function(client, function):
    name = function(SLOW)
    call(client, name)
    client.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=0)
    with pytest.raises(ClientError) as caught:
        client.invoke(FunctionName=name)
    answer = caught.value.response
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 429
    assert answer["Error"]["Code"] == "TooManyRequestsException"
    assert answer["Error"]["Message"] == "Rate Exceeded."
    assert answer["Reason"] == "ReservedFunctionConcurrentInvocationLimitExceeded"
    assert client.get_function(FunctionName=name)["Concurrency"] == {"ReservedConcurrentExecutions": 0}
    gone = client.delete_function_concurrency(FunctionName=name)
    assert gone["ResponseMetadata"]["HTTPStatusCode"] == 204
    assert "Concurrency" not in client.get_function(FunctionName=name)
    assert "ReservedConcurrentExecutions" not in client.get_function_concurrency(FunctionName=name)
    call(client, name)


def test_a_reservation_is_a_limit(client, function):
    name = function(SLOW)
    before = unreserved(client)
    put = client.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=2)
    assert put["ReservedConcurrentExecutions"] == 2
    got = client.get_function_concurrency(FunctionName=name)
    assert got["ReservedConcurrentExecutions"] == 2
    assert unreserved(client) == before - 2

    def one(_):
        try:
            call(client, name, {"sleep": 3})
            return "ran"
        except ClientError as error:
            return error.response["Reason"]

    with ThreadPoolExecutor(6) as pool:
        ends = sorted(pool.map(one, range(6)))
    assert ends == ["ReservedFunctionConcurrentInvocationLimitExceeded"] * 4 + ["ran"] * 2


def test_refusals_have_the_recorded_texts(client, function):
    name = function(SLOW, Publish=True)
    most = unreserved(client) - 100
    invalid = (400, "InvalidParameterValueException")
    put = client.put_function_concurrency
    assert refused(put, FunctionName=name, ReservedConcurrentExecutions=most + 1) == (
        *invalid, UNRESERVED
    )  # fmt: skip
    for qualified in (f"{name}:1", f"{name}:$LATEST"):
        assert refused(put, FunctionName=qualified, ReservedConcurrentExecutions=1) == (
            *invalid,
            "This operation is permitted on Lambda functions only. Aliases and versions do not"
            " support this operation. Please specify either a function name or an unqualified"
            " function ARN.",
        )
    arn = client.get_function_configuration(FunctionName=name)["FunctionArn"]
    missing = arn.removesuffix(name) + "doesnotexist:$LATEST"
    status, kind, message = refused(put, FunctionName="doesnotexist", ReservedConcurrentExecutions=1)
    assert (status, kind) == (404, "ResourceNotFoundException")
    assert message == f"Function not found: {missing}"
    assert refused(client.get_function_concurrency, FunctionName="doesnotexist")[2] == message
