"""Packages, runtimes and settings of functions, and payloads."""

import io
import zipfile

from harness import code, place, registry, s3
from harness.provoking import HELLO, Asker
from harness.server import Server

RETIRED = "dotnetcore3.1 go1.x java8 nodejs12.x nodejs14.x provided python3.7 ruby2.7".split()


def runtimes(w):
    for runtime in (*RETIRED, "PYTHON3.9", "non-existent-runtime"):
        yield w.create(Runtime=runtime)


def settings(w):
    yield w.create(Role="r1")
    yield w.create(Architectures=["X86_64"])
    yield w.create(Architectures=["x86_64", "arm64"])
    yield w.create(SnapStart={"ApplyOn": "invalidOption"})
    yield w.create(VpcConfig={"SubnetIds": [w.known("bad-subnet")], "SecurityGroupIds": ["sg-1"]})
    yield w.create(VpcConfig={"SubnetIds": ["subnet-1"], "SecurityGroupIds": [w.known("bad-group")]})
    yield w.create(Environment={"Variables": {"LARGE_VAR": "x" * 4096}})
    yield w.create(Environment={"Variables": {"SMALL_VAR": "ok", "LARGE_VAR": "x" * 4096}})


def packages(w):
    yield w.create(Code={"ZipFile": b"not a zip file"})
    yield w.create(Code={"ZipFile": large_when_unpacked()})
    yield w.create(Code={"ZipFile": bytes(52_428_801)})
    yield w.create(Code={"ZipFile": bytes(54_000_000)})
    yield w.ask("update_function_code", FunctionName=w.name, ImageUri="127.0.0.1:1/app:good")


def large_when_unpacked():
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr("zeros", bytes(262_144_001))
    return buffer.getvalue()


def images(w):
    with registry.TinyRegistry() as tiny:
        tiny.push("app", [registry.layer({"run": "#!/bin/sh\n"})], Entrypoint=["/run"])
        name = w.known("refused-image")
        image = {"PackageType": "Image", "Runtime": None, "Handler": None}
        created = w.create(FunctionName=name, Code={"ImageUri": f"{tiny.name}/app:app"}, **image)
        assert created.status == 201, created.body
        w.client.get_waiter("function_active_v2").wait(FunctionName=name, WaiterConfig={"Delay": 1})
        yield w.ask("update_function_code", FunctionName=name, ZipFile=code.python(HELLO))
        w.must("delete_function", FunctionName=name)


def payloads(w):
    for payload in (b"n\x87r\x9e\xe9\xb5\xd7I\xee\x9bmt", b"\x99\xeb,j\x07\xa1zYh"):
        yield w.ask("invoke", FunctionName=w.name, Payload=payload)


def code_from_s3(w):
    with s3.TinyS3() as tiny:
        tiny.buckets.add("bucket")
        config = (
            f'[s3]\nendpoint = "{tiny.endpoint}"\nregion = "{s3.REGION}"\n'
            f'access_key = "{s3.KEY}"\nsecret = "{s3.SECRET}"\n'
        )
        with Server(config=config) as server:
            other = Asker(server.access())
            yield other.create(Code={"S3Bucket": "no-bucket", "S3Key": "key"})
            yield other.create(Code={"S3Bucket": "bucket", "S3Key": "no-key"})


SCENARIOS = [
    runtimes,
    settings,
    packages,
    payloads,
    code_from_s3,
    # What is an image needs namespaces to run, and creation says so.
    *([images] if place.isolation() == "namespaces" else []),
]
