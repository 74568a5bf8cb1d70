"""Tags and resource policies."""

from harness.provoking import PREFIX


def tags(w):
    def each(arn):
        yield w.ask("tag_resource", Resource=arn, Tags={"a": "b"})
        yield w.ask("untag_resource", Resource=arn, TagKeys=["a"])
        yield w.ask("list_tags", Resource=arn)

    uuid = w.known("00000000-0000-0000-0000-000000000000")
    provider = w.known("no-capacity")
    yield from each(w.arn("doesnotexist"))
    yield from each(w.arn() + ":$LATEST")
    yield from each(w.arn() + ":1")
    yield from each("arn:aws:something")
    yield from each(f"{PREFIX}:foobar:{provider}")
    yield from each(f"{PREFIX}:event-source-mapping:{uuid}")
    yield from each(f"{PREFIX}:event-source-mapping:{uuid}:alias")
    yield from each(f"{PREFIX}:capacity-provider:{provider}")
    yield from each(f"{PREFIX}:capacity-provider:{provider}:alias")
    yield w.ask("tag_resource", Resource=w.arn(), Tags={})
    yield w.ask("tag_resource", Resource=w.arn(), Tags={f"k{number}": "v" for number in range(51)})
    yield w.ask("untag_resource", Resource=w.arn(), TagKeys=[])


def permissions(w):
    def add(function=w.name, statement="s3", principal="s3.amazonaws.com", **more):
        return w.ask(
            "add_permission", FunctionName=function, StatementId=statement, Principal=principal,
            Action="lambda:InvokeFunction", **more,
        )  # fmt: skip

    def remove(function=w.name, statement="non-existent", **more):
        return w.ask("remove_permission", FunctionName=function, StatementId=statement, **more)

    yield remove()
    yield remove("doesnotexist")
    yield w.ask("get_policy", FunctionName=w.name)
    yield w.ask("get_policy", FunctionName="doesnotexist")
    yield add("doesnotexist")
    yield add(statement="example.com")
    yield add(principal="invalid.nonaws.com")
    yield add(Qualifier="$LATEST")
    yield add(Qualifier="invalid-qualifier-with-?-char")
    yield add(Qualifier="42")
    yield add(Qualifier="valid-with-$-but-doesnotexist")
    yield add(Qualifier="alias-doesnotexist")
    assert add().status == 201
    yield add()
    yield remove()
    yield add(statement="s4", RevisionId="wrong")
    yield remove(statement="s3", RevisionId="wrong")
    w.must("remove_permission", FunctionName=w.name, StatementId="s3")


SCENARIOS = [tags, permissions]
