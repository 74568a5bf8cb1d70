"""Refusals: the error, the text and the status that a client sees."""

import contextlib

import botocore.exceptions
import pytest


def refused(client, error, operation, **arguments):
    """Calls an operation that must fail with the named error; returns (message, status)."""
    with pytest.raises(client.exceptions.ClientError) as caught:
        getattr(client, operation)(**arguments)
    response = caught.value.response
    assert response["Error"]["Code"] == error, response
    return response["Error"]["Message"], response["ResponseMetadata"]["HTTPStatusCode"]


@contextlib.contextmanager
def refuses(error, text=""):
    """What is done inside must fail with the named error, whose message has `text`."""
    with pytest.raises(botocore.exceptions.ClientError) as caught:
        yield
    answer = caught.value.response["Error"]
    assert answer["Code"] == error and text in answer["Message"], answer


def content(answer):
    """An answer without what is about its transport."""
    return {name: value for name, value in answer.items() if name != "ResponseMetadata"}
