"""Functions from container images: pulled once by digest, unpacked safely, run on their own root.

From Debian's docker-registry; the small one of the harness serves what that one would refuse.
"""

import gzip
import pathlib
import re
import shutil
import subprocess

import pytest
from botocore.exceptions import ClientError
from harness import aws, code, docker_registry, place, registry
from harness.functions import call, fresh_name

BASH = shutil.which("bash")

pytestmark = [
    pytest.mark.skipif(place.isolation() != "namespaces", reason="images need namespaces"),
    pytest.mark.skipif(BASH is None, reason="no bash to make an image of"),
    pytest.mark.skipif(docker_registry.PROGRAM is None, reason="no docker-registry: see .venv/missing"),
]

NOT_SUPPORTED = (
    "The image manifest, config or layer media type for the source image {} is not supported."
)

# A runtime in nothing but bash: the image has no other program.
RUNTIME = r"""#!/bin/bash
echo "started as $*"
server=/dev/tcp/${AWS_LAMBDA_RUNTIME_API/://}
paths=/2018-06-01/runtime/invocation
while :; do
  exec 3<>"$server"
  printf 'GET %s/next HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n' $paths >&3
  while IFS= read -r -u 3 line && line=${line%$'\r'} && [ -n "$line" ]; do
    case ${line,,} in lambda-runtime-aws-request-id:*) id=${line#*: } ;; esac
  done
  exec 3>&-
  python=$([ -e /usr/bin/python3 ] && echo yes || echo no)
  gone=$([ -e /data/gone ] && echo there || echo gone)
  writable=$([ -w /data ] && echo yes || echo no)
  body="[\"$*\", \"$PWD\", \"$FROM_IMAGE\", \"$(</data/text)\", \"$python\", \"$gone\", \"$writable\", \"$(</etc/app.conf)\"]"
  exec 3<>"$server"
  printf 'POST %s/%s/response HTTP/1.1\r\nHost: x\r\nConnection: close\r\n' $paths "$id" >&3
  printf 'Content-Length: %d\r\n\r\n%s' ${#body} "$body" >&3
  while read -r -u 3 line; do :; done
  exec 3>&-
done
"""


def bash_and_its_libraries():
    """{path in the image: content}, executable all."""
    told = subprocess.run(["ldd", BASH], capture_output=True, text=True, check=True).stdout
    libraries = re.findall(r"(/\S+) \(0x", told)
    files = {path.lstrip("/"): pathlib.Path(path).read_bytes() for path in libraries}
    return {"usr/bin/bash": pathlib.Path(BASH).read_bytes(), **files}


BASE = {
    "app/run": RUNTIME,
    "data/text": "low",
    "data/gone": "low",
    "etc/app.conf": "configured",
    "etc/passwd": "root:x:0:0::/:/bin/bash\n",
}
CONFIG = {
    "Entrypoint": ["/app/run"],
    "Cmd": ["app.handler"],
    "Env": ["PATH=/bin", "FROM_IMAGE=yes"],
    "WorkingDir": "/data",
}


@pytest.fixture(scope="module")
def layers():
    base = {**bash_and_its_libraries(), **BASE}
    low = registry.layer(base, {"bin": "usr/bin"}, {path: 0o755 for path in base})
    return [low, registry.layer({"data/text": "high"}, whiteouts=["data/.wh.gone"])]


@pytest.fixture(scope="module")
def images(layers):
    with docker_registry.DockerRegistry() as images:
        good = images.push("app", "plain", layers, **CONFIG)
        other = images.push("app", None, layers, **{**CONFIG, "Env": ["FROM_IMAGE=arm"]})
        mine, theirs = (good, other) if place.architecture() == "x86_64" else (other, good)
        images.digest = good["digest"]
        images.push_index("app", "good", {"amd64": mine, "arm64": theirs})
        yield images


@pytest.fixture(scope="module")
def hostile(layers):
    with registry.TinyRegistry() as tiny:
        escaping = registry.layer({"inside": "x"}, {"out": "/"}, whiteouts=["../../outside"])
        tiny.push("good", layers, **CONFIG)
        tiny.push("escaping", [layers[0], escaping])
        tiny.push("damaged", [b"no archive"])
        yield tiny


def create(client, name, **settings):
    function = fresh_name("image")
    client.create_function(
        FunctionName=function,
        PackageType="Image",
        Role=aws.ROLE,
        Code={"ImageUri": name},
        Timeout=20,
        **settings,
    )
    client.get_waiter("function_active_v2").wait(
        FunctionName=function, WaiterConfig={"Delay": 1, "MaxAttempts": 60}
    )
    return function


def settle(client, name):
    client.get_waiter("function_updated_v2").wait(
        FunctionName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 60}
    )


def refused(message, call, **members):
    with pytest.raises(ClientError) as caught:
        call(**members)
    error = caught.value.response["Error"]
    assert (error["Code"], error["Message"]) == ("InvalidParameterValueException", message)


def test_an_image_runs_on_its_own_root(client, images):
    name = create(client, f"{images.name}/app:good")
    expected = ["app.handler", "/data", "yes", "high", "no", "gone", "no", "configured"]
    assert call(client, name)[0] == expected
    assert call(client, name)[0] == expected
    shown = client.get_function(FunctionName=name)
    assert shown["Code"] == {
        "RepositoryType": "ECR",
        "ImageUri": f"{images.name}/app:good",
        "ResolvedImageUri": f"{images.name}/app@{images.digest}",
    }
    configuration = shown["Configuration"]
    assert configuration["PackageType"] == "Image"
    assert configuration["CodeSha256"] == images.digest.removeprefix("sha256:")
    assert configuration["CodeSize"] == 0
    for absent in ("Runtime", "Handler", "Layers", "RuntimeVersionConfig"):
        assert absent not in configuration
    client.delete_function(FunctionName=name)


def test_a_function_overrides_what_its_image_says(client, images):
    config = {"Command": ["other", "words"], "WorkingDirectory": "/app"}
    name = create(client, f"{images.name}/app:good", ImageConfig=config)
    assert call(client, name)[0][:2] == ["other words", "/app"]
    config = {"EntryPoint": ["bash", "/app/run", "first"]}
    client.update_function_configuration(
        FunctionName=name, ImageConfig=config, Environment={"Variables": {"FROM_IMAGE": "no"}}
    )
    settle(client, name)
    assert call(client, name)[0][:3] == ["first app.handler", "/data", "no"]
    shown = client.get_function_configuration(FunctionName=name)["ImageConfigResponse"]
    assert shown == {"ImageConfig": config}
    by_digest = f"{images.name}/app@{images.digest}"
    client.update_function_code(FunctionName=name, ImageUri=by_digest)
    settle(client, name)
    assert client.get_function(FunctionName=name)["Code"]["ImageUri"] == by_digest
    client.delete_function(FunctionName=name)


def test_images_that_cannot_be_used_are_refused(client, images, hostile, function):
    missing = "Source image {} does not exist. Provide a valid source image."
    for name in (f"{images.name}/app:none", "no-registry", f"{images.name}/../app"):
        with pytest.raises(ClientError) as caught:
            create(client, name)
        assert caught.value.response["Error"]["Message"] == missing.format(name)
    for tag in ("escaping", "damaged"):
        with pytest.raises(ClientError, match="InvalidParameterValueException"):
            create(client, f"{hostile.name}/app:{tag}")
    with pytest.raises(ClientError, match="Please don't provide Handler or Runtime or Layer"):
        create(client, f"{images.name}/app:good", Handler="x.y")
    update = client.update_function_code
    name = create(client, f"{images.name}/app:good")
    with pytest.raises(ClientError, match="Please don't provide Handler or Runtime or Layer"):
        client.update_function_configuration(FunctionName=name, Handler="x.y")
    without = "Please provide ImageUri when updating a function with packageType Image."
    refused(without, update, FunctionName=name, ZipFile=code.python("x = 1\n"))
    zipped = function("def handler(event, context): return 1\n")
    with_image = "Please don't provide ImageUri when updating a function with packageType Zip."
    refused(with_image, update, FunctionName=zipped, ImageUri=f"{images.name}/app:good")
    # A zip function does not become an image by what is in its file.
    bundle = b"lamplight image\n" + b'{"format":1}\n'
    no_zip = "Could not unzip uploaded file. Please check your file, then try to upload again."
    refused(no_zip, update, FunctionName=zipped, ZipFile=bundle)
    client.delete_function(FunctionName=name)


def test_process_mode_has_no_images(own_server, images):
    client = aws.client(own_server(isolation="process").access())
    with pytest.raises(ClientError, match='need isolation \\\\?"namespaces\\\\?"'):
        create(client, f"{images.name}/app:good")


def test_one_name_stands_for_an_image_of_each_architecture(client, images, layers):
    docker = images.push_docker("old", "plain", layers, **CONFIG)
    architecture = {"x86_64": "amd64", "arm64": "arm64"}[place.architecture()]
    kind = "application/vnd.docker.distribution.manifest.list.v2+json"
    images.push_index("old", "list", {architecture: docker}, kind)
    images.push_index("old", "foreign", {"s390x": docker}, kind)
    for tag in ("plain", "list"):
        name = create(client, f"{images.name}/old:{tag}")
        assert call(client, name)[0][2] == "yes"
        resolved = client.get_function(FunctionName=name)["Code"]["ResolvedImageUri"]
        assert resolved == f"{images.name}/old@{docker['digest']}"
        client.delete_function(FunctionName=name)
    foreign = f"{images.name}/old:foreign"
    with pytest.raises(ClientError) as caught:
        create(client, foreign)
    assert caught.value.response["Error"]["Message"] == NOT_SUPPORTED.format(foreign)


def test_layers_are_tar_or_gzip(client, images, layers):
    plain = [gzip.decompress(layer) for layer in layers]
    kind = docker_registry.OCI + "layer.v1.tar"
    images.push("kinds", "tar", plain, kind, **CONFIG)
    name = create(client, f"{images.name}/kinds:tar")
    assert call(client, name)[0][3] == "high"
    client.delete_function(FunctionName=name)
    # What is inside does not matter: it is refused by its name, and is not unpacked.
    images.push("kinds", "zstd", layers, kind + "+zstd", **CONFIG)
    zstd = f"{images.name}/kinds:zstd"
    with pytest.raises(ClientError) as caught:
        create(client, zstd)
    assert caught.value.response["Error"]["Message"] == NOT_SUPPORTED.format(zstd)


@pytest.mark.parametrize("auth", ["basic", "token"])
def test_a_registry_lets_in_who_has_the_password(own_server, layers, tmp_path, auth):
    with docker_registry.DockerRegistry(auth) as images:
        digest = images.push("app", "good", layers, **CONFIG)["digest"]
        image = f"{images.name}/app:good"
        good = docker_registry.PASSWORD
        server = own_server(config=images.login(tmp_path))
        client = aws.client(server.access())
        name = create(client, image)
        assert call(client, name)[0][2] == "yes"
        resolved = client.get_function(FunctionName=name)["Code"]["ResolvedImageUri"]
        assert resolved == f"{images.name}/app@{digest}"
        assert good not in server.log()
        server.stop()

        missing = f"Source image {image} does not exist. Provide a valid source image."
        for config in (images.login(tmp_path, "water"), ""):
            server = own_server(config=config)
            client = aws.client(server.access())
            with pytest.raises(ClientError) as caught:
                create(client, image)
            error = caught.value.response["Error"]
            if auth == "token" and not config:
                # Nobody told the server that it may go where this registry sends it.
                assert error["Message"] == f"The image {image} cannot be pulled."
            else:
                assert error["Message"] == missing
                assert "does not let this server in" in server.log()
            assert "water" not in server.log()
            server.stop()
