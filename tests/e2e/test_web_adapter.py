"""Web applications behind an adapter layer: AWS's own, and one that does what it does."""

import pytest
from harness import code, place
from harness.extensions import layer
from harness.functions import call, fresh_name
from test_logs import logged

# What the web adapter of AWS does: it starts as an extension, waits for the application in the
# runtime's place to answer, and turns events into requests to it and answers into responses.
ADAPTER = """
import urllib.request, urllib.error
register()
base = "http://127.0.0.1:" + os.environ["PORT"]
runtime = "/2018-06-01/runtime/invocation/"
import threading

def serve():
    while True:
        try:
            urllib.request.urlopen(base + "/ready").read()
            break
        except urllib.error.HTTPError:
            break
        except OSError:
            time.sleep(0.01)
    while True:
        _, headers, event = send("GET", runtime + "next")
        event = json.loads(event)
        request = {n.lower(): v for n, v in headers.items()}["lambda-runtime-aws-request-id"]
        method = event["requestContext"]["http"]["method"]
        body = event.get("body", "").encode() or None
        asked = urllib.request.Request(base + event["rawPath"], body, method=method)
        with urllib.request.urlopen(asked) as answer:
            response = {"statusCode": answer.status, "headers": dict(answer.headers),
                        "body": answer.read().decode(), "isBase64Encoded": False}
        send("POST", runtime + request + "/response", response)

threading.Thread(target=serve, daemon=True).start()
next_event()
"""

APPLICATION = """\
#!/bin/sh
exec /usr/bin/python3 -u "$LAMBDA_TASK_ROOT/web.py"
"""

WEB = """
import http.server, os

class App(http.server.BaseHTTPRequestHandler):
    def answer(self, body):
        body = body.encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        self.answer("hello from " + self.path)

    def do_POST(self):
        self.answer(self.rfile.read(int(self.headers["Content-Length"])).decode().upper())

http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), App).serve_forever()
"""


def test_a_web_server_behind_an_adapter_layer(client, function):
    arn = layer(client, fresh_name("adapter"), adapter=ADAPTER)
    name = function(
        code.bootstrap(APPLICATION, {"web.py": WEB}), Layers=[arn], Runtime="provided.al2023",
        Environment={"Variables": {"PORT": "8080"}},
    )  # fmt: skip

    def fetch(method, path, body=""):
        event = {"version": "2.0", "rawPath": path, "body": body,
                 "requestContext": {"http": {"method": method, "path": path}}}  # fmt: skip
        result, answer = call(client, name, event)
        assert "FunctionError" not in answer, result
        return result["statusCode"], result["body"]

    assert fetch("GET", "/a/b") == (200, "hello from /a/b")
    assert fetch("POST", "/", "shout") == (200, "SHOUT")


# As the adapter's own documentation has it for zip files: a layer with the extension and a wrapper
# that starts the application in the runtime's place.
WRAPPER = """\
#!/bin/sh
exec "${LAMBDA_TASK_ROOT}/${_HANDLER}"
"""


@pytest.mark.skipif(place.web_adapter() is None, reason="without web-adapter")
def test_the_web_adapter_of_aws_runs_unmodified(client, logs, function):
    files = {
        "extensions/lambda-adapter": place.web_adapter().read_bytes(),
        "bootstrap": WRAPPER,
    }
    version = client.publish_layer_version(
        LayerName=fresh_name("lwa"),
        Content={"ZipFile": code.zipped(files, {name: 0o755 for name in files})},
    )
    name = function(
        code.zipped({"run.sh": APPLICATION, "web.py": WEB}, {"run.sh": 0o755}),
        Handler="run.sh", Layers=[version["LayerVersionArn"]], MemorySize=512,
        Environment={"Variables": {"AWS_LAMBDA_EXEC_WRAPPER": "/opt/bootstrap", "PORT": "8000"}},
    )  # fmt: skip

    def fetch(method, path, body=""):
        http = {"method": method, "path": path, "protocol": "HTTP/1.1", "sourceIp": "192.0.2.1",
                "userAgent": "test"}  # fmt: skip
        event = {
            "version": "2.0", "routeKey": "$default", "rawPath": path, "rawQueryString": "",
            "headers": {"host": "example.com"}, "body": body, "isBase64Encoded": False,
            "requestContext": {
                "accountId": "000000000000", "apiId": "x", "domainName": "example.com",
                "domainPrefix": "x", "http": http, "requestId": "1", "routeKey": "$default",
                "stage": "$default", "time": "22/Nov/2026:12:00:00 +0000",
                "timeEpoch": 1795348800000,
            },
        }  # fmt: skip
        result, answer = call(client, name, event)
        assert "FunctionError" not in answer, result
        return result["statusCode"], result["body"]

    assert fetch("GET", "/a/b") == (200, "hello from /a/b")
    assert fetch("POST", "/", "shout") == (200, "SHOUT")
    lines = logged(logs, name, "REPORT RequestId: ", 2)
    assert "EXTENSION\tName: lambda-adapter\tState: Ready\tEvents: []" in lines
