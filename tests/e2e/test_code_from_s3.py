"""Code that is named by bucket and key: fetched once from the configured endpoint, then kept."""

import subprocess

import pytest
from botocore.exceptions import ClientError
from harness import aws, code, place, s3
from harness.functions import call, fresh_name

FETCH = "Error occurred while GetObject. S3 Error Code: {}. S3 Error Message: {}"


@pytest.fixture
def tiny():
    with s3.TinyS3() as server:
        yield server


@pytest.fixture
def client(own_server, tiny):
    return connected(own_server, tiny)


def connected(own_server, tiny, environment=None, **change):
    settings = {
        "endpoint": tiny.endpoint,
        "region": s3.REGION,
        "access_key": s3.KEY,
        "secret": s3.SECRET,
        **change,
    }
    lines = "\n".join(f'{name} = "{value}"' for name, value in settings.items())
    return aws.client(own_server(config=f"[s3]\n{lines}\n", environment=environment).access())


def answering(text):
    return code.python(f"def handler(event, context): return {text!r}\n")


def create(client, **source):
    name = fresh_name()
    client.create_function(
        FunctionName=name,
        Runtime=place.python_runtime(),
        Handler="app.handler",
        Role=aws.ROLE,
        Code=source,
    )
    client.get_waiter("function_active_v2").wait(
        FunctionName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 60}
    )
    return name


def refused(error, message, call, *arguments, **members):
    with pytest.raises(ClientError) as caught:
        call(*arguments, **members)
    found = caught.value.response["Error"]
    assert (found["Code"], found["Message"]) == (error, message)


def test_functions_take_their_code_from_s3(client, tiny):
    key = "a folder/ünder & co.zip"
    first = tiny.put("code", key, answering("one"))
    tiny.put("code", key, answering("two"))
    name = create(client, S3Bucket="code", S3Key=key)
    assert call(client, name)[0] == "two"
    shown = client.get_function(FunctionName=name)
    assert shown["Configuration"]["CodeSize"] == len(answering("two"))
    assert "ResolvedS3Object" not in shown["Code"]
    client.update_function_code(
        FunctionName=name, S3Bucket="code", S3Key=key, S3ObjectVersion=first
    )
    client.get_waiter("function_updated_v2").wait(
        FunctionName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 60}
    )
    assert call(client, name)[0] == "one"


def test_a_reference_is_kept_and_shown(client, tiny):
    version = tiny.put("code", "app.zip", answering("kept"))
    source = {"S3Bucket": "code", "S3Key": "app.zip"}
    name = create(client, **source, S3ObjectStorageMode="REFERENCE")
    resolved = {**source, "S3ObjectVersion": version}
    assert client.get_function(FunctionName=name)["Code"]["ResolvedS3Object"] == resolved
    tiny.objects.clear()
    assert call(client, name)[0] == "kept"
    published = client.publish_version(FunctionName=name)["Version"]
    shown = client.get_function(FunctionName=name, Qualifier=published)
    assert shown["Code"]["ResolvedS3Object"] == resolved


def test_layers_take_their_content_from_s3(client, tiny):
    content = code.zipped({"text": "from s3"})
    tiny.put("code", "layer.zip", content)
    source = {"S3Bucket": "code", "S3Key": "layer.zip", "S3ObjectStorageMode": "REFERENCE"}
    layer = client.publish_layer_version(LayerName="layer", Content=source)
    assert layer["Content"]["CodeSize"] == len(content)
    assert layer["Content"]["ResolvedS3Object"]["S3ObjectVersion"] == "v1"


def test_refusals_of_s3_are_handed_on(client, tiny):
    tiny.put("code", "text", b"no zip file")
    tiny.put("code", "huge.zip", 262_144_001)
    invalid = "InvalidParameterValueException"
    no_bucket = FETCH.format("NoSuchBucket", "The specified bucket does not exist")
    refused(invalid, no_bucket, create, client, S3Bucket="none-at-all", S3Key="x")
    no_key = FETCH.format("NoSuchKey", "The specified key does not exist.")
    refused(invalid, no_key, create, client, S3Bucket="code", S3Key="x")
    not_zip = "Could not unzip uploaded file. Please check your file, then try to upload again."
    refused(invalid, not_zip, create, client, S3Bucket="code", S3Key="text")
    huge = "Unzipped size must be smaller than 262144000 bytes"
    refused(invalid, huge, create, client, S3Bucket="code", S3Key="huge.zip")
    both = "Please do not provide other FunctionCode parameters when providing a ZipFile."
    refused(invalid, both, create, client, S3Bucket="code", S3Key="x", ZipFile=answering("x"))
    half = "Please provide both S3Bucket and S3Key."
    refused(invalid, half, create, client, S3Bucket="code")


def test_a_wrong_key_is_refused_by_s3(own_server, tiny):
    client = connected(own_server, tiny, secret="another")
    tiny.put("code", "app.zip", answering("x"))
    message = FETCH.format("SignatureDoesNotMatch", "The signature does not match.")
    source = {"S3Bucket": "code", "S3Key": "app.zip"}
    refused("InvalidParameterValueException", message, create, client, **source)


def test_an_endpoint_that_is_not_there_is_named(own_server, tiny):
    client = connected(own_server, tiny, endpoint="http://127.0.0.1:1")
    with pytest.raises(ClientError) as caught:
        create(client, S3Bucket="code", S3Key="app.zip")
    answer = caught.value.response
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 503
    assert "http://127.0.0.1:1/" in answer["Error"]["Message"]


def test_endpoints_with_tls_are_trusted_by_their_certificates(own_server, tmp_path):
    certificate = tmp_path / "server.pem"
    extensions = ["subjectAltName=IP:127.0.0.1", "basicConstraints=critical,CA:FALSE"]
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
        + ["-nodes", "-subj", "/CN=tiny", "-days", "2", "-keyout", certificate]
        + ["-out", tmp_path / "certificate.pem"]
        + [word for extension in extensions for word in ("-addext", extension)],
        check=True,
        capture_output=True,
    )
    trusted = tmp_path / "certificate.pem"
    certificate.write_text(certificate.read_text() + trusted.read_text())
    source = {"S3Bucket": "code", "S3Key": "app.zip"}
    with s3.TinyS3(certificate) as tiny:
        tiny.put("code", "app.zip", answering("over TLS"))
        client = connected(own_server, tiny, environment={"SSL_CERT_FILE": str(trusted)})
        assert call(client, create(client, **source))[0] == "over TLS"
        client = connected(own_server, tiny)
        with pytest.raises(ClientError, match="invalid peer certificate"):
            create(client, **source)


def test_without_an_endpoint_a_request_says_so(server):
    with pytest.raises(ClientError, match=r"set one in the section \[s3\]") as caught:
        create(server.client(), S3Bucket="code", S3Key="app.zip")
    assert caught.value.response["Error"]["Code"] == "InvalidParameterValueException"
