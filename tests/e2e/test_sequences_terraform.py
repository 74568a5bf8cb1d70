"""Terraform itself, where it is installed with the AWS provider: every `aws_lambda_*` resource made,
planned again without a difference, changed, and destroyed."""

import json
import os
import pathlib
import shutil
import subprocess

import pytest
from harness import aws, code, place

STACK = pathlib.Path(__file__).parent / "terraform" / "main.tf"
# Where providers are unpacked as `terraform providers mirror` does it.
PLUGINS = pathlib.Path(os.environ.get("LAMPLIGHT_TEST_TERRAFORM_PLUGINS", "/opt/tf-plugins"))
PROVIDER = PLUGINS / "registry.terraform.io" / "hashicorp" / "aws"
HANDLER = """
import os

def handler(event, context):
    return {**event, "layer": os.path.exists("/opt/glass.txt")}
"""

pytestmark = pytest.mark.skipif(
    shutil.which("terraform") is None or not PROVIDER.is_dir(),
    reason="no terraform with the AWS provider in a mirror of plugins",
)


class Terraform:
    def __init__(self, server, home):
        self.home = home
        shutil.copy(STACK, home / "main.tf")
        (home / "code.zip").write_bytes(code.python(HANDLER))
        (home / "layer.zip").write_bytes(code.zipped({"glass.txt": "clear"}))
        (home / "rc").write_text(
            f'provider_installation {{\n  filesystem_mirror {{\n    path = "{PLUGINS}"\n  }}\n}}\n'
        )
        self.environment = {
            **aws.cli_environment(server),
            "TF_CLI_CONFIG_FILE": str(home / "rc"),
            "TF_IN_AUTOMATION": "1",
            "TF_VAR_package": "code.zip",
            "TF_VAR_layer": "layer.zip",
            "TF_VAR_runtime": place.python_runtime(),
            "TF_VAR_architecture": place.architecture(),
        }

    def run(self, *words, allowed=(0,), **variables):
        variables = {f"TF_VAR_{name}": value for name, value in variables.items()}
        done = subprocess.run(
            ["terraform", *words], cwd=self.home, env={**self.environment, **variables},
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=280, check=False,
        )  # fmt: skip
        assert done.returncode in allowed, f"{words}\n{done.stdout}\n{done.stderr}"
        return done

    def apply(self, **variables):
        self.run("apply", "-no-color", "-input=false", "-auto-approve", **variables)

    def no_difference(self, **variables):
        """Reads everything anew: whoever sees a difference here sees it in every plan."""
        plan = self.run("plan", "-no-color", "-input=false", "-detailed-exitcode", allowed=(0, 2), **variables)
        assert plan.returncode == 0, plan.stdout

    def outputs(self):
        return {name: one["value"] for name, one in json.loads(self.run("output", "-json").stdout).items()}


@pytest.mark.timeout(600)
def test_every_resource(own_server, tmp_path):
    server = own_server()
    terraform = Terraform(server, tmp_path)
    terraform.run("init", "-no-color", "-input=false")
    terraform.apply()
    terraform.no_difference()
    assert terraform.outputs() == {
        "functions": ["lamp", "small"],
        "invoked": {"street": "high", "layer": False},
        "read": {"street": "low", "layer": False},
        "alias": "1",
    }
    before = server.client().get_function(FunctionName="lamp")
    assert before["Concurrency"] == {"ReservedConcurrentExecutions": 5}
    assert before["Configuration"]["DeadLetterConfig"]["TargetArn"].endswith(":dead")

    terraform.apply(changed="true")
    terraform.no_difference(changed="true")
    after = server.client().get_function(FunctionName="lamp")
    assert after["Concurrency"] == {"ReservedConcurrentExecutions": 6}
    assert (after["Configuration"]["Timeout"], after["Tags"]) == (11, {"street": "high"})
    assert not {"DeadLetterConfig", "KMSKeyArn"} & set(after["Configuration"])
    live = server.client().get_alias(FunctionName="lamp", Name="live")
    assert live["RoutingConfig"] == {"AdditionalVersionWeights": {"2": 0.25}}

    terraform.run("destroy", "-no-color", "-input=false", "-auto-approve", changed="true")
    assert server.client().list_functions()["Functions"] == []
    assert server.client().list_layers()["Layers"] == []
    assert server.client().list_event_source_mappings()["EventSourceMappings"] == []
    assert server.client("iam").list_roles()["Roles"] == []
    assert server.client("logs").describe_log_groups(logGroupNamePrefix="/aws/lambda/lamp")["logGroups"] == []
