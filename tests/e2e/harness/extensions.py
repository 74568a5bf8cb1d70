"""Extensions to deploy: what every one of them needs, in front of what a test wants it to do."""

import textwrap

from . import code

# Speaks to the Extensions API; `register`, `next_event` and `post` are for the scripts below it.
HEAD = """\
#!/usr/bin/python3 -u
import http.client, json, os, signal, sys, time

NAME = os.path.basename(sys.argv[0])
me = {}

def send(method, path, body=None, headers={}):
    connection = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
    connection.request(method, path, body if body is None else json.dumps(body), {**headers, **me})
    answer = connection.getresponse()
    return answer.status, dict(answer.getheaders()), answer.read()

def register(*events):
    status, headers, body = send(
        "POST", "/2020-01-01/extension/register", {"events": events},
        {"Lambda-Extension-Name": NAME, "Lambda-Extension-Accept-Feature": "accountId"})
    assert status == 200, body
    headers = {name.lower(): value for name, value in headers.items()}
    me["Lambda-Extension-Identifier"] = headers["lambda-extension-identifier"]
    return json.loads(body)

def next_event():
    status, headers, body = send("GET", "/2020-01-01/extension/event/next")
    assert status == 200, (status, body)
    return json.loads(body)

def fail(when, kind):
    path = f"/2020-01-01/extension/{when}/error"
    return send("POST", path, {}, {"Lambda-Extension-Function-Error-Type": kind})

def say(*words):
    print(NAME, *words)

"""


def extension(script):
    return HEAD + textwrap.dedent(script)


def layer(client, publish_name, mode=0o755, **scripts):
    """A layer version with these scripts as external extensions. Returns its ARN."""
    files = {f"extensions/{name}": extension(script) for name, script in scripts.items()}
    version = client.publish_layer_version(
        LayerName=publish_name,
        Content={"ZipFile": code.zipped(files, {name: mode for name in files})},
    )
    return version["LayerVersionArn"]
