"""Java functions on the JDKs of this machine, with AWS's own client."""

import base64
import json

import pytest
from harness import code, java
from harness.cli import lamplight
from harness.functions import call, fresh_name
from harness.leftovers import wait_until

pytestmark = pytest.mark.skipif(bool(java.missing()), reason=java.missing() or "-")

# A minute on a machine that is busy: a JVM starts with all processors that it gets.
SETTINGS = {"Timeout": 60, "MemorySize": 512}

SOURCES = {
    "app/App.java": """
package app;

import com.amazonaws.services.lambda.runtime.*;
import java.io.*;
import java.util.*;

public class App implements RequestHandler<Map<String, Object>, Object> {
    static int calls = 0;

    public Object handleRequest(Map<String, Object> event, Context context) {
        System.out.println("printed");
        context.getLogger().log("logged\\nin two lines\\n");
        Map<String, Object> answer = new TreeMap<>();
        answer.put("event", event);
        answer.put("calls", ++calls);
        answer.put("name", context.getFunctionName());
        answer.put("memory", context.getMemoryLimitInMB());
        answer.put("remaining", context.getRemainingTimeInMillis() > 0);
        answer.put("request", context.getAwsRequestId());
        answer.put("heap", Runtime.getRuntime().maxMemory() >> 20);
        answer.put("wrapped", System.getProperty("wrapped"));
        answer.put("execution", System.getenv("AWS_EXECUTION_ENV"));
        return answer;
    }

    public String greet(Name name) {
        return Helper.greet(name.getFirst());
    }

    public void stream(InputStream input, OutputStream output) throws IOException {
        output.write("[".getBytes());
        input.transferTo(output);
        output.write("]".getBytes());
    }

    public String fail(Map<String, Object> event) {
        throw new IllegalStateException("no light");
    }

    public String load(Map<String, Object> event) throws Exception {
        Class<?> found = Class.forName(event.get("class").toString());
        return found.getMethod("greet", String.class).invoke(null, "layer").toString();
    }

    public static class Name {
        private String first;
        public String getFirst() { return first; }
        public void setFirst(String first) { this.first = first; }
    }
}
""",
    "app/Helper.java": """
package app;

public class Helper {
    public static String greet(String name) { return "Hello " + name; }
}
""",
}
RUNTIMES = sorted(java.jdks())


@pytest.fixture(scope="module")
def classes():
    return java.compiled(SOURCES)


@pytest.fixture(scope="module")
def client_installed(server):
    """Beside the running server, which has to notice."""
    for name in RUNTIMES:
        told = lamplight(
            "runtime", "install", name, "--jars", java.JARS, "--data-dir", server.data_dir
        )
        assert f"{name} has its client: aws-lambda-java-runtime-interface-client-" in told
    yield
    for name in RUNTIMES:
        lamplight("runtime", "remove", name, "--data-dir", server.data_dir)


@pytest.fixture
def java_function(client_installed, function):
    def make(files, handler="app.App", runtime=RUNTIMES[0], **settings):
        package = code.zipped(files)
        return function(package, Runtime=runtime, Handler=handler, **{**SETTINGS, **settings})

    return make


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_handler_is_called(client, logs, java_function, classes, runtime):
    name = java_function(classes, runtime=runtime)
    for count in (1, 2):
        payload, answer = call(client, name, {"a": [1, "é"]}, LogType="Tail")
        assert "FunctionError" not in answer, payload
        assert payload == {
            "event": {"a": [1, "é"]},
            "calls": count,
            "name": name,
            "memory": 512,
            "remaining": True,
            "request": answer["ResponseMetadata"]["RequestId"],
            "heap": payload["heap"],
            "execution": f"AWS_Lambda_{runtime}",
        }
    # AWS: 85 % of the memory; the collector keeps a part of it to itself.
    assert 350 < payload["heap"] <= 436
    lines = base64.b64decode(answer["LogResult"]).decode()
    assert "printed\n" in lines
    events = logs.filter_log_events(logGroupName=f"/aws/lambda/{name}")["events"]
    messages = [event["message"] for event in events]
    # One event, and no byte of the frame that it came in.
    assert "logged\nin two lines" in messages
    assert messages.count("printed") == 2
    assert not any("WARNING" in message for message in messages)
    number = runtime.removeprefix("java")
    assert any(f"Runtime Version: java:{number}.v" in message for message in messages)


def test_a_package_is_classes_and_jars(client, java_function, classes):
    """Methods by name, plain objects, streams; a dependency in lib/."""
    inside = {path: body for path, body in classes.items() if "Helper" not in path}
    helper = {"app/Helper.class": classes["app/Helper.class"]}
    files = {**inside, "lib/helper.jar": code.zipped(helper)}
    assert call(client, java_function(files, "app.App::greet"), {"first": "Ada"})[0] == "Hello Ada"
    assert call(client, java_function(files, "app.App::stream"), {"x": 1})[0] == [{"x": 1}]
    everything = {"lib/all.jar": code.zipped(classes)}
    name = java_function(everything, "app.App::greet")
    assert call(client, name, {"first": "Bob"})[0] == "Hello Bob"


def test_failures_are_told_as_on_aws(client, logs, java_function, classes):
    name = java_function(classes, "app.App::fail")
    payload, answer = call(client, name)
    assert answer["FunctionError"] == "Unhandled"
    assert payload["errorType"] == "java.lang.IllegalStateException"
    assert payload["errorMessage"] == "no light"
    assert payload["stackTrace"][0].startswith("app.App.fail(")

    def told():
        """The client writes it when the answer is already on its way."""
        events = logs.filter_log_events(logGroupName=f"/aws/lambda/{name}")["events"]
        start = "no light: java.lang.IllegalStateException\njava.lang.IllegalStateException: no light\n"
        return any(event["message"].startswith(start) for event in events)

    wait_until(told, "the exception in the log")
    payload, answer = call(client, java_function(classes, "app.Nobody::x"))
    assert answer["FunctionError"] == "Unhandled"
    assert payload["errorType"] == "java.lang.ClassNotFoundException"
    assert payload["errorMessage"] == "Class not found: app.Nobody"


def test_layers_bring_libraries_and_wrappers(client, java_function, classes):
    helper = code.zipped({"app/Helper.class": classes["app/Helper.class"]})
    wrapper = '#!/bin/sh\nprogram=$1; shift\nexec "$program" -Dwrapped=yes "$@"\n'
    layer = client.publish_layer_version(
        LayerName=fresh_name("java"),
        Content={
            "ZipFile": code.zipped(
                {"java/lib/helper.jar": helper, "wrap": wrapper}, modes={"wrap": 0o755}
            )
        },
    )
    files = {path: body for path, body in classes.items() if "Helper" not in path}
    settings = {"Layers": [layer["LayerVersionArn"]]}
    name = java_function(files, "app.App::load", **settings)
    assert call(client, name, {"class": "app.Helper"})[0] == "Hello layer"
    name = java_function(
        files, Environment={"Variables": {"AWS_LAMBDA_EXEC_WRAPPER": "/opt/wrap"}}, **settings
    )
    assert call(client, name)[0]["wrapped"] == "yes"
    client.delete_layer_version(LayerName=layer["LayerArn"], VersionNumber=layer["Version"])


def test_logs_as_json(client, java_function, classes):
    name = java_function(classes, LoggingConfig={"LogFormat": "JSON"})
    _, answer = call(client, name, LogType="Tail")
    lines = base64.b64decode(answer["LogResult"]).decode().splitlines()
    told = [json.loads(line) for line in lines if line.startswith("{")]
    [logged] = [line for line in told if str(line.get("message")).startswith("logged\nin two")]
    assert logged["AWSRequestId"] == answer["ResponseMetadata"]["RequestId"]


def test_without_its_client_java_is_refused_with_the_way_to_get_it(own_server, classes):
    server = own_server()
    client = server.client()
    with pytest.raises(client.exceptions.InvalidParameterValueException) as caught:
        client.create_function(
            FunctionName="f", Runtime=RUNTIMES[0], Handler="app.App", Role="arn:aws:iam::000000000000:role/r",
            Code={"ZipFile": code.zipped(classes)},
        )  # fmt: skip
    message = caught.value.response["Error"]["Message"]
    assert f"lamplight runtime install {RUNTIMES[0]} --jars" in message
