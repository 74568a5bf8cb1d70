"""Ruby functions on an installed runtime image, with AWS's own client where it can be had."""

import base64

import pytest
from harness import code, docker_registry, place, ruby
from harness.aws_image import CONFIG
from harness.cli import lamplight
from harness.functions import call, deploy, fresh_name

pytestmark = [
    pytest.mark.skipif(place.isolation() != "namespaces", reason="images need namespaces"),
    pytest.mark.skipif(docker_registry.PROGRAM is None, reason="no docker-registry: see .venv/missing"),
    pytest.mark.skipif(bool(ruby.missing()), reason=ruby.missing() or "-"),
]

RUNTIME = "ruby3.3"
APP = """
$calls = 0

def handler(event:, context:)
  puts "printed"
  raise "no light" if event["fail"]
  $calls += 1
  {
    event: event, calls: $calls, name: context.function_name, request: context.aws_request_id,
    remaining: context.get_remaining_time_in_millis.positive?, handler: ENV["_HANDLER"],
    execution: ENV["AWS_EXECUTION_ENV"], traced: !ENV["_X_AMZN_TRACE_ID"].to_s.empty?,
  }
end
"""


@pytest.fixture(scope="module", params=ruby.CLIENTS)
def installed(request, server, client):
    """Makes functions on an image with one of the clients."""
    if ruby.CLIENTS[request.param]() is None:
        pytest.skip("no aws_lambda_ric: see .venv/missing")
    at = ("--data-dir", server.data_dir)
    made = []

    def make(source, **settings):
        settings = {"Runtime": RUNTIME, "Timeout": 60, "MemorySize": 512, **settings}
        made.append(deploy(client, code.zipped({"app.rb": source}), FunctionName=fresh_name("ruby"), **settings))
        return made[-1]

    with docker_registry.DockerRegistry() as images:
        images.push("ruby", "1", [ruby.base(request.param)], **CONFIG)
        lamplight("runtime", "install", RUNTIME, "--from", f"{images.name}/ruby:1", *at)
        yield make
        for name in made:
            client.delete_function(FunctionName=name)
        lamplight("runtime", "remove", RUNTIME, *at)


def test_a_handler_is_called_again_and_again(client, installed):
    name = installed(APP)
    for calls in (1, 2):
        answer, told = call(client, name, {"é": ["✓", 1.5, None]}, LogType="Tail")
        request = told["ResponseMetadata"]["RequestId"]
        assert answer == {
            "event": {"é": ["✓", 1.5, None]}, "calls": calls, "name": name, "request": request,
            "remaining": True, "handler": "app.handler", "execution": f"AWS_Lambda_{RUNTIME}",
            "traced": True,
        }  # fmt: skip
        assert "\nprinted\n" in base64.b64decode(told["LogResult"]).decode()


def test_errors_are_the_callers_and_the_environment_stays(client, installed):
    name = installed(APP)
    assert call(client, name)[0]["calls"] == 1
    payload, answer = call(client, name, {"fail": True})
    assert answer["FunctionError"] == "Unhandled"
    assert (payload["errorType"], payload["errorMessage"]) == ("Function<RuntimeError>", "no light")
    assert any("app.rb" in line for line in payload["stackTrace"])
    assert call(client, name)[0]["calls"] == 2


@pytest.mark.parametrize("source, error", [
    ("require 'left_pad'", "LoadError"), ("def handler(", "SyntaxError"), ("raise 'early'", "RuntimeError"),
])  # fmt: skip
def test_what_does_not_load_says_so(client, installed, source, error):
    payload, answer = call(client, installed(source))
    assert (answer["FunctionError"], payload["errorType"]) == ("Unhandled", f"Init<{error}>")
