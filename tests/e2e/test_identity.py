"""Who may call: SigV4 as AWS checks it, and what happens to everybody else."""

import dataclasses
import datetime
import os
import socket
import stat
import subprocess
import urllib.parse

import botocore.auth
import botocore.awsrequest
import botocore.credentials
import pytest
from harness import aws, place
from harness.server import clean_environment

LIST = "/2015-03-31/functions"


def refusal(answer, error):
    assert (answer.status, answer.error) == (403, error), (answer.status, answer.body)
    return answer.message


def test_credentials_are_the_owners_alone(server):
    mode = (server.data_dir / "credentials").stat().st_mode
    assert stat.S_IMODE(mode) == 0o600


def test_signed_is_answered(access):
    assert aws.send(access, "GET", LIST).status == 200


def test_unsigned_is_not(access):
    answer = aws.send(access, "GET", LIST, sign=False)
    assert answer.status == 403
    assert answer.error in ("MissingAuthenticationTokenException", "MissingAuthenticationToken")


def test_wrong_secret(access):
    wrong = dataclasses.replace(access, secret="wrong" + access.secret)
    message = refusal(aws.send(wrong, "GET", LIST), "InvalidSignatureException")
    assert message.startswith(
        "The request signature we calculated does not match the signature you provided."
    )
    assert access.secret not in message


def test_unknown_key(access):
    unknown = dataclasses.replace(access, key="AKIAUNKNOWNUNKNOWN00")
    message = refusal(aws.send(unknown, "GET", LIST), "UnrecognizedClientException")
    assert message == "The security token included in the request is invalid."


def test_session_token_that_is_none(access):
    garbage = dataclasses.replace(access, token="no token of ours")
    answer = aws.send(garbage, "GET", LIST)
    assert answer.status == 403
    assert answer.error in ("UnrecognizedClientException", "InvalidClientTokenIdException",
                            "ExpiredTokenException")  # fmt: skip


@pytest.mark.parametrize("minutes", [-20, -6, 6, 60 * 24])
def test_clock_that_is_off(access, minutes):
    at = aws.utc_now() + datetime.timedelta(minutes=minutes)
    message = refusal(aws.send(access, "GET", LIST, at=at), "InvalidSignatureException")
    assert message.startswith(
        "Signature expired: " if minutes < 0 else "Signature not yet current: "
    )


@pytest.mark.parametrize("minutes", [-4, 4])
def test_clock_that_is_a_little_off(access, minutes):
    at = aws.utc_now() + datetime.timedelta(minutes=minutes)
    assert aws.send(access, "GET", LIST, at=at).status == 200


def test_regions_are_apart(access, client, function):
    """One server stands for every region; what is made in one is not seen in another."""
    name = function("def handler(event, context):\n    return 1\n", wait=False)
    elsewhere = dataclasses.replace(access, region="eu-central-1")
    answer = aws.send(elsewhere, "GET", LIST)
    assert name not in answer.body.decode()
    assert aws.send(elsewhere, "GET", f"{LIST}/{name}").status in (403, 404)


@pytest.mark.parametrize("service", ["s3", "logs", "sts", ""])
def test_signature_of_another_service(access, service):
    answer = aws.send(access, "GET", LIST, service=service)
    assert answer.status in (400, 403, 404), answer.body
    assert "Functions" not in answer.body.decode()


def test_body_that_was_changed_on_the_way(access):
    request = aws.signed(access, "POST", LIST, b'{"FunctionName":"a"}', {}, "lambda")
    headers = dict(request.headers.items())
    answer = aws.exchange(access, "POST", LIST, b'{"FunctionName":"b"}', headers)
    refusal(answer, "InvalidSignatureException")


def test_path_that_was_changed_on_the_way(access):
    request = aws.signed(access, "GET", LIST, b"", {}, "lambda")
    answer = aws.exchange(access, "GET", LIST + "/other", b"", dict(request.headers.items()))
    refusal(answer, "InvalidSignatureException")


def test_query_that_was_changed_on_the_way(access):
    request = aws.signed(access, "GET", LIST, b"", {}, "lambda")
    answer = aws.exchange(access, "GET", LIST + "?MaxItems=1", b"", dict(request.headers.items()))
    refusal(answer, "InvalidSignatureException")


@pytest.mark.parametrize(
    "header",
    [
        "",
        "AWS4-HMAC-SHA256",
        "AWS4-HMAC-SHA256 Credential=",
        "AWS4-HMAC-SHA256 Credential=a/b/c/d/e, SignedHeaders=host, Signature=0",
        "AWS4-HMAC-SHA256 Credential=////, SignedHeaders=;;;, Signature=\u00ff",
        "Bearer of nothing",
        "Basic YTpi",
        "AWS4-HMAC-SHA256 " + "Credential=x, " * 500,
    ],
)
def test_headers_that_are_no_signature(access, header):
    answer = aws.exchange(access, "GET", LIST, b"", {
        "Host": urllib.parse.urlsplit(access.endpoint).netloc,
        "Authorization": header.encode("latin-1"),
    })  # fmt: skip
    assert answer.status in (400, 403, 404), answer.body
    assert answer.error


def presigned(access, path, seconds=60, at=None):
    request = botocore.awsrequest.AWSRequest("GET", access.endpoint + path)
    credentials = botocore.credentials.Credentials(access.key, access.secret)
    with aws.clock(at):
        botocore.auth.SigV4QueryAuth(
            credentials, "lambda", access.region, expires=seconds
        ).add_auth(request)
    return urllib.parse.urlsplit(request.prepare().url)


def get(access, url):
    return aws.exchange(access, "GET", f"{url.path}?{url.query}", b"", {"Host": url.netloc})


def test_presigned(access):
    assert get(access, presigned(access, LIST)).status == 200


def test_presigned_that_has_expired(access):
    past = aws.utc_now() - datetime.timedelta(minutes=10)
    refusal(get(access, presigned(access, LIST, 60, past)), "InvalidSignatureException")


def test_presigned_for_another_path(access):
    url = presigned(access, LIST)
    refusal(get(access, url._replace(path=LIST + "/other")), "InvalidSignatureException")


def test_who_am_i(access):
    who = aws.client(access, "sts").get_caller_identity()
    assert who["Account"] == aws.ACCOUNT
    assert who["Arn"].startswith("arn:aws:iam::000000000000:")


def test_without_authentication_on_loopback(own_server):
    server = own_server("--auth", "none")
    access = aws.Access(server.endpoint, "any", "thing")
    assert aws.send(access, "GET", LIST).status == 200
    assert aws.send(access, "GET", LIST, sign=False).status == 200
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    for action, status, text in (
        ("Action=GetCallerIdentity&Version=2011-06-15", 200, b"<GetCallerIdentityResult>"),
        ("Action=ListUsers&Version=2010-05-08", 200, b"<ListUsersResult>"),
        ("Action=GetUser&UserName=nobody&Version=2010-05-08", 404, b"<Code>NoSuchEntity</Code>"),
    ):
        answer = aws.send(access, "POST", "/", action.encode(), form, sign=False)
        assert (answer.status, text in answer.body) == (status, True), answer.body


def test_without_authentication_for_everybody_is_refused(tmp_path):
    done = subprocess.run(
        [place.binary(), "serve", "--data-dir", tmp_path / "data", "--listen", "0.0.0.0:0",
         "--auth", "none"],
        env=clean_environment(), capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    assert done.returncode != 0
    assert "loopback" in done.stderr


def test_credentials_stay_the_same_after_a_restart(own_server):
    server = own_server()
    before = server.access()
    server.stop()
    server.start()
    after = server.access()
    assert (before.key, before.secret) == (after.key, after.secret)


def raw(access, data, timeout=40):
    parts = urllib.parse.urlsplit(access.endpoint)
    with socket.create_connection((parts.hostname, parts.port), timeout) as connection:
        got = b""
        try:
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
            while chunk := connection.recv(65536):
                got += chunk
        except OSError as error:
            # Closed while we were still sending: what was received is the answer.
            assert not isinstance(error, TimeoutError), "the server keeps the connection open"
        return got


@pytest.mark.parametrize(
    "data",
    [
        b"\r\n\r\n",
        b"GET\r\n\r\n",
        os.urandom(512),
        b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n123456",
        b"GET / HTTP/1.1\r\nHost: a\r\n" + b"A: b\r\n" * 2000 + b"\r\n",
        b"GET /" + b"a" * 200_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n",
    ],
    ids=["empty", "no path", "noise", "both lengths", "two lengths", "headers", "line", "chunk"],
)
def test_hostile_http(access, data):
    """Never a success, never a crash: an error or a closed connection, and the next one works."""
    got = raw(access, data)
    assert not got or got.startswith((b"HTTP/1.1 4", b"HTTP/1.0 4")), got[:200]
    assert aws.send(access, "GET", LIST).status == 200
