"""AWS clients: boto3, the command line, and signed requests that no SDK would send."""

import dataclasses
import datetime
import http.client
import json
import os
import subprocess
import urllib.parse

import boto3
import botocore.auth
import botocore.awsrequest
import botocore.config
import botocore.credentials

from . import place

ACCOUNT = "000000000000"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/lambda"


@dataclasses.dataclass(frozen=True)
class Access:
    endpoint: str
    key: str
    secret: str
    region: str = "us-east-1"
    token: str | None = None


def client(access, service="lambda", **settings):
    """A boto3 client that tries once: a retry would hide what the server answered."""
    once = {"retries": {"total_max_attempts": 1}, "max_pool_connections": 128}
    settings = {"read_timeout": 70, "connect_timeout": 10, **once, **settings}
    return boto3.session.Session().client(
        service,
        endpoint_url=access.endpoint,
        region_name=access.region,
        aws_access_key_id=access.key,
        aws_secret_access_key=access.secret,
        aws_session_token=access.token,
        config=botocore.config.Config(**settings),
    )


@dataclasses.dataclass
class Answer:
    status: int
    headers: http.client.HTTPMessage
    body: bytes

    def json(self):
        return json.loads(self.body)

    @property
    def error(self):
        """The error's name, as SDKs read it."""
        return (self.headers.get("x-amzn-ErrorType") or "").split(":")[0]

    @property
    def message(self):
        body = self.json()
        return body.get("message") or body.get("Message")


def send(access, method, path, body=b"", headers=None, service="lambda", at=None, sign=True):
    """One request, signed by botocore unless told otherwise. `at` moves the signer's clock."""
    if isinstance(body, (dict, list)):
        body = json.dumps(body).encode()
    headers = dict(headers or {})
    if sign:
        request = signed(access, method, path, body, headers, service, at)
        headers = dict(request.headers.items())
    return exchange(access, method, path, body, headers)


def signed(access, method, path, body, headers, service, at=None):
    request = botocore.awsrequest.AWSRequest(method, access.endpoint + path, headers, body)
    credentials = botocore.credentials.Credentials(access.key, access.secret, access.token)
    signer = botocore.auth.SigV4Auth(credentials, service, access.region)
    with clock(at):
        signer.add_auth(request)
    return request.prepare()


class clock:
    """Makes botocore sign as if it was another time."""

    def __init__(self, at):
        self.at = at

    def __enter__(self):
        self.real = botocore.auth.get_current_datetime
        if self.at is not None:
            botocore.auth.get_current_datetime = self.now

    def now(self, remove_tzinfo=True):
        return self.at.replace(tzinfo=None) if remove_tzinfo else self.at

    def __exit__(self, *_):
        botocore.auth.get_current_datetime = self.real


def utc_now():
    return datetime.datetime.now(datetime.timezone.utc)


def exchange(access, method, path, body, headers):
    """One HTTP exchange, byte for byte as given."""
    place_ = urllib.parse.urlsplit(access.endpoint)
    connection = http.client.HTTPConnection(place_.hostname, place_.port, timeout=70)
    try:
        given = {name.lower() for name in headers}
        connection.putrequest(method, path, "host" in given, skip_accept_encoding=True)
        if "content-length" not in given:
            headers = {**headers, "Content-Length": str(len(body))}
        for name, value in headers.items():
            connection.putheader(name, value)
        try:
            connection.endheaders(body)
        except (BrokenPipeError, ConnectionResetError):
            # A server that refuses by the headers may answer before it has read the body.
            pass
        response = connection.getresponse()
        return Answer(response.status, response.headers, response.read())
    finally:
        connection.close()


def cli(server, *arguments, program=None, check=True, timeout=60):
    """Runs the aws command line as a user would after `eval "$(lamplight env)"`."""
    environment = cli_environment(server)
    command = [program or place.aws_v1(), *endpoint_option(server, program), *arguments]
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, check=False, timeout=timeout
    )
    if check:
        assert done.returncode == 0, f"{command}: {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done


def endpoint_option(server, program):
    """Debian's aws cli of version 2 is from before AWS_ENDPOINT_URL (2.13)."""
    return ["--endpoint-url", server.endpoint] if program else []


def cli_environment(server):
    from .server import clean_environment

    return {
        **clean_environment(),
        **server.exports(),
        "AWS_PAGER": "",
        "AWS_MAX_ATTEMPTS": "1",
        # Nobody's own profile has a say here.
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    }
