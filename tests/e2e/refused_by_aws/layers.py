"""Layers: published, used, permitted."""

from harness import code
from harness.provoking import PREFIX


def arn(name, version):
    return f"{PREFIX}:layer:{name}:{version}"


def lookups(w):
    yield w.ask("get_layer_version", LayerName="any", VersionNumber=0)
    yield w.ask("get_layer_version_by_arn", Arn=f"{PREFIX}:layer:{w.known('no-version')}")
    yield w.ask("list_layers", CompatibleArchitecture="archdoesnotexist")
    content = {"ZipFile": code.zipped({"a": "b"})}
    for runtimes, architectures in (
        (["invalidruntime"], ["invalidarch"]),
        (["invalidruntime", "invalidruntime2", "nodejs20.x"], ["invalidarch", "x86_64"]),
    ):
        yield w.ask(
            "publish_layer_version", LayerName="any", Content=content,
            CompatibleRuntimes=runtimes, CompatibleArchitectures=architectures,
        )  # fmt: skip


def layers_of_functions(w):
    name = w.layer()
    w.must("publish_layer_version", LayerName=name, Content={"ZipFile": code.zipped({"2": "2"})})
    yield w.create(Layers=[arn(w.layer(), 1) for _ in range(6)])
    yield w.create(Layers=[arn(name, 9)])
    yield w.create(Layers=[arn("doesnotexist", 1)])
    yield w.create(Layers=[arn(name, 1).replace("us-east-1", "eu-west-1")])
    yield w.create(Layers=[arn(name, 1), arn(name, 1)])
    yield w.create(Layers=[arn(name, 1), arn(name, 2)])
    yield w.create(Layers=[f"{PREFIX}:layer:{name}"])
    w.must("delete_layer_version", LayerName=name, VersionNumber=2)


def permissions(w):
    name = w.layer()

    def add(layer=name, version=1, statement="s1", action="lambda:GetLayerVersion", **more):
        return w.ask(
            "add_layer_version_permission", LayerName=layer, VersionNumber=version,
            StatementId=statement, Action=action, Principal="*", **more,
        )  # fmt: skip

    def policy(operation, layer=name, version=1, **more):
        return w.ask(operation, LayerName=layer, VersionNumber=version, **more)

    yield policy("get_layer_version_policy")
    yield add(action="*")
    yield add(f"{name}-doesnotexist")
    yield add(version=2)
    yield policy("get_layer_version_policy", f"{name}-doesnotexist")
    yield policy("get_layer_version_policy", version=2)
    yield policy("remove_layer_version_permission", f"{name}-doesnotexist", StatementId="s1")
    assert add().status == 201
    yield add()
    yield add(statement="s2", RevisionId="wrong")
    yield policy("remove_layer_version_permission", StatementId="doesnotexist")


SCENARIOS = [lookups, layers_of_functions, permissions]
