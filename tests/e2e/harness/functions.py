"""Functions for a test: deployed, called, and run from the inside."""

import itertools
import json
import os

from . import aws, code, place

_numbers = itertools.count(1)


def fresh_name(stem="f"):
    return f"{stem}-{os.getpid()}-{next(_numbers)}"


def deploy(client, package, wait=True, **settings):
    """Creates a function with small defaults and waits until it is active. Returns its name."""
    settings = {
        "FunctionName": fresh_name(),
        "Runtime": place.python_runtime(),
        "Handler": "app.handler",
        "Role": aws.ROLE,
        "Timeout": 20,
        "Code": {"ZipFile": code.python(package) if isinstance(package, str) else package},
        **settings,
    }
    if place.architecture() != "x86_64":
        settings.setdefault("Architectures", [place.architecture()])
    client.create_function(**settings)
    if wait:
        client.get_waiter("function_active_v2").wait(
            FunctionName=settings["FunctionName"], WaiterConfig={"Delay": 1, "MaxAttempts": 60}
        )
    return settings["FunctionName"]


def call(client, name, event=None, **settings):
    """Invokes and returns (payload, answer); the payload is decoded JSON."""
    answer = client.invoke(FunctionName=name, Payload=json.dumps({} if event is None else event), **settings)
    return code.payload(answer), answer


def run_inside(client, name, python):
    """Runs Python inside the sandbox of a function made of `code.PROBE`; returns its `result`."""
    result, answer = call(client, name, {"python": python})
    assert "FunctionError" not in answer, result
    return result
