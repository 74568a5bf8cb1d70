"""A container image made like AWS's base image for Ruby, of this machine's Ruby and a runtime client.

The client is AWS's own where `tests/setup.sh` found it, or `$LAMPLIGHT_RUBY_RIC` names its directory
`lib`; and always one that speaks the Runtime API as its documentation says.
"""

import functools
import os
import pathlib
import shutil
import subprocess

from . import aws_image, place, registry

RUBY = shutil.which("ruby", path="/usr/bin")

BOOTSTRAP = """#!/bin/bash
export AWS_EXECUTION_ENV=AWS_Lambda_$NAME
exec /usr/bin/ruby /var/runtime/start.rb
"""
OFFICIAL_START = """
$LOAD_PATH.unshift "/var/runtime/lib"
require "aws_lambda_ric"
AwsLambdaRIC::Bootstrap.new.start
"""
STAND_IN = pathlib.Path(__file__).with_name("runtime_client.rb")


def official():
    """The directory `lib` of AWS's client, or None."""
    named = os.environ.get("LAMPLIGHT_RUBY_RIC")
    found = [pathlib.Path(named)] if named else sorted(place.VENV.glob("ruby/gems/aws_lambda_ric-*/lib"))
    return next((path for path in found if (path / "aws_lambda_ric.rb").exists()), None)


CLIENTS = {"aws_lambda_ric": official, "stand-in": lambda: STAND_IN}


def missing():
    """Why no Ruby function can be run here; empty where one can."""
    if RUBY is None:
        return "no Ruby of the system: see .venv/missing"
    return "" if aws_image.BASH else "no bash to make an image with"


@functools.cache
def base(client):
    """The layer with one of CLIENTS."""
    show = 'puts RbConfig::CONFIG.values_at("rubylibdir", "rubyarchdir", "vendordir")'
    told = subprocess.run([RUBY, "-e", show], capture_output=True, text=True, check=True).stdout
    found = [path for top in told.split() for path in pathlib.Path(top).rglob("*") if path.is_file()]
    files = {
        # What the client loads needs no other libraries than Ruby itself.
        **aws_image.libraries(RUBY, aws_image.BASH),
        **{str(path).lstrip("/"): path.read_bytes() for path in found},
        "usr/bin/ruby": pathlib.Path(RUBY).read_bytes(),
        "usr/bin/bash": pathlib.Path(aws_image.BASH).read_bytes(),
        "var/runtime/bootstrap": BOOTSTRAP.replace("$NAME", "ruby3.3"),
        "lambda-entrypoint.sh": aws_image.ENTRYPOINT,
    }
    if client == "aws_lambda_ric":
        lib = official()
        files |= {f"var/runtime/lib/{p.relative_to(lib)}": p.read_bytes() for p in lib.rglob("*.rb")}
        files["var/runtime/start.rb"] = OFFICIAL_START
    else:
        files["var/runtime/start.rb"] = STAND_IN.read_bytes()
    programs = ("usr/bin/bash", "usr/bin/ruby", "var/runtime/bootstrap", "lambda-entrypoint.sh")
    modes = {path: 0o755 for path in (*programs, *(path for path in files if ".so" in path))}
    return registry.layer(files, {"bin": "usr/bin", "usr/bin/sh": "bash"}, modes)
