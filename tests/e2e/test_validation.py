"""Requests that no SDK would send: boto3 checks before it sends, so these are signed by hand."""

import base64
import json

import pytest
from harness import aws, code, place
from harness.functions import fresh_name

FUNCTIONS = "/2015-03-31/functions"


def body(**change):
    """A CreateFunction request that would pass, with changes; None takes a member out."""
    request = {
        "FunctionName": fresh_name(),
        "Role": aws.ROLE,
        "Runtime": place.python_runtime(),
        "Handler": "app.handler",
        "Code": {"ZipFile": base64.b64encode(code.python("handler = print\n")).decode()},
        **change,
    }
    return {name: value for name, value in request.items() if value is not None}


def post(access, request, path=FUNCTIONS):
    return aws.send(access, "POST", path, request, {"Content-Type": "application/json"})


def failed(value, field, constraint):
    return (
        f"1 validation error detected: Value '{value}' at '{field}' failed to satisfy "
        f"constraint: {constraint}"
    )


@pytest.mark.parametrize(
    "change, message",
    [
        (
            {"Role": "r1"},
            failed("r1", "role", "Member must satisfy regular expression pattern: "
                   r"arn:(aws[a-zA-Z-]*)?:iam::\d{12}:role/?[a-zA-Z_0-9+=,.@\-_/]+"),
        ),
        (
            {"Architectures": ["X86_64"]},
            failed("[X86_64]", "architectures", "Member must satisfy constraint: [Member must "
                   "satisfy enum value set: [x86_64, arm64], Member must not be null]"),
        ),
        (
            {"Architectures": ["x86_64", "arm64"]},
            failed("[x86_64, arm64]", "architectures",
                   "Member must have length less than or equal to 1"),
        ),
    ],
)  # fmt: skip
def test_texts_of_aws(access, change, message):
    answer = post(access, body(**change))
    assert (answer.status, answer.error, answer.message) == (400, "ValidationException", message)


@pytest.mark.parametrize(
    "change, field",
    [
        ({"Timeout": 0}, "timeout"),
        ({"MemorySize": 1}, "memorySize"),
        ({"FunctionName": "no spaces please"}, "functionName"),
        ({"Role": None}, "role"),
        ({"Code": None}, "code"),
        ({"EphemeralStorage": {"Size": 1}}, "ephemeralStorage.size"),
        ({"TracingConfig": {"Mode": "Sometimes"}}, "tracingConfig.mode"),
    ],
)
def test_constraints_of_the_model(access, change, field):
    answer = post(access, body(**change))
    assert (answer.status, answer.error) == (400, "ValidationException"), answer.body
    assert f"'{field}'" in answer.message


def test_several_faults_are_counted(access):
    answer = post(access, body(Timeout=0, MemorySize=1))
    assert answer.status == 400
    assert answer.message.startswith("2 validation errors detected: ")


def test_unknown_runtime_lists_the_known(access):
    answer = post(access, body(Runtime="PYTHON3.9"))
    assert (answer.status, answer.error) == (400, "InvalidParameterValueException")
    assert answer.message.startswith(
        "Value PYTHON3.9 at 'runtime' failed to satisfy constraint: Member must satisfy enum "
        "value set: ["
    )


def test_values_of_a_wrong_type(access):
    for change in ({"Timeout": "soon"}, {"Code": "zip"}, {"FunctionName": ["a"]}):
        answer = post(access, body(**change))
        assert answer.status == 400, (change, answer.body)
        assert answer.error in ("SerializationException", "ValidationException")


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b"\xff\xfe", b'"text"', b"{}" * 2])
def test_bodies_that_are_no_request(access, text):
    answer = post(access, text)
    assert answer.status == 400, answer.body
    assert answer.error


def test_depth_does_not_matter(access):
    """A million brackets are an error like any other: no overflow, no wait."""
    answer = post(access, b'{"FunctionName":' + b"[" * 1_000_000)
    assert answer.status == 400


def test_zip_that_is_no_base64(access):
    answer = post(access, body(Code={"ZipFile": "***"}))
    assert answer.status == 400


def test_zip_over_fifty_megabytes(access):
    zeros = base64.b64encode(bytes(52_428_801)).decode()
    answer = post(access, body(Code={"ZipFile": zeros}))
    assert (answer.status, answer.error) == (413, "RequestEntityTooLargeException")
    assert answer.message == "Zipped size must be smaller than 52428800 bytes"


def test_request_over_its_limit(access):
    answer = post(access, b" " * 70_167_212)
    assert (answer.status, answer.error) == (413, "RequestEntityTooLargeException")
    assert "70167211" in answer.message


def test_unknown_operation(access):
    answer = aws.send(access, "GET", "/2015-03-31/lamps")
    assert answer.status in (403, 404), answer.body
    assert answer.error in ("UnknownOperationException", "AccessDeniedException")


def test_errors_carry_an_id_and_a_type(access):
    answer = aws.send(access, "GET", f"{FUNCTIONS}/{fresh_name('missing')}")
    assert (answer.status, answer.error) == (404, "ResourceNotFoundException")
    assert answer.headers["x-amzn-RequestId"]
    assert answer.json()["Type"] == "User"


@pytest.mark.parametrize(
    "name",
    ["%2e%2e", "a%2Fb", "a%00b", "%ff", "arn%3Aaws%3As3%3A%3A%3Abucket", "a" * 4000, "a:b:c:d"],
)
def test_names_that_are_no_names(access, name):
    for method, path in [("GET", ""), ("POST", "/invocations")]:
        answer = aws.send(access, method, f"{FUNCTIONS}/{name}{path}", b"{}" if path else b"")
        assert answer.status in (400, 403, 404), (name, answer.status, answer.body)
        json.loads(answer.body)
