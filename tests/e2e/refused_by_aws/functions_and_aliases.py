"""Names, versions, aliases, concurrency."""

from concurrent.futures import ThreadPoolExecutor

from harness import code
from harness.leftovers import wait_until
from harness.provoking import HELLO, Asker


def names(w):
    long = "a" * 65
    yield w.ask("get_function", FunctionName=long)
    yield w.create(FunctionName=w.arn(w.known("b" * 100)))
    yield w.create(FunctionName="invalid:function:name")
    yield w.ask("invoke", FunctionName="arn:aws:lambda:us-east-1:123400000000@function:myfn")
    yield w.ask("get_function", FunctionName="arn:aws:lambda:us-east-1:123456789012:function:my-function")
    there = w.known("eu-central-1")
    for region in (there, "ap-southeast-1"):
        for operation in ("get_function", "invoke", "delete_function", "get_function_concurrency"):
            yield w.ask(operation, FunctionName=f"arn:aws:lambda:{region}:{'0' * 12}:function:{w.name}")
    for operation in ("get_function", "get_function_configuration", "delete_function"):
        yield w.ask(operation, FunctionName=w.arn("some-function:1"), Qualifier="$LATEST")
    for operation in ("get_function", "get_function_configuration"):
        yield w.ask(operation, FunctionName=w.arn("some-function:$LATEST"), Qualifier="$LATEST")


def functions_that_are_not_there(w):
    gone = w.known("was-never-there")
    for operation in ("get_function", "get_function_configuration", "delete_function", "list_aliases"):
        yield w.ask(operation, FunctionName=gone)
    yield w.ask("get_function_concurrency", FunctionName="doesnotexist")
    yield w.ask("put_function_concurrency", FunctionName="doesnotexist", ReservedConcurrentExecutions=1)
    for qualifier in ("1221", "aliasdoesnotexist", "non-existent-alias"):
        for operation in ("get_function", "get_function_configuration", "invoke"):
            yield w.ask(operation, FunctionName=w.name, Qualifier=qualifier)
    yield w.ask("list_functions", FunctionVersion="invalid")


def versions(w):
    yield w.ask("delete_function", FunctionName=w.name, Qualifier="$LATEST")
    w.known(w.must("get_function_configuration", FunctionName=w.name)["CodeSha256"])
    for digest in ("somenonexistentsha256", "a" * 64):
        yield w.ask("publish_version", FunctionName=w.name, CodeSha256=digest)
    yield w.ask("publish_version", FunctionName=w.name, RevisionId="wrong")


def aliases(w):
    def create(name="fresh", version="1", function=w.name, **weights):
        routing = {"AdditionalVersionWeights": {key[1:]: value for key, value in weights.items()}}
        settings = {"RoutingConfig": routing} if weights else {}
        return w.ask("create_alias", FunctionName=function, Name=name, FunctionVersion=version, **settings)

    yield create(name="2024")
    yield create(name="custom")
    yield create(function=w.name + "-unknown")
    yield create(v10=0.5)
    yield create(v1=0.5)
    yield create(v1=0.5, v2=0.5)
    yield create(v2=2.0)
    yield create(v2=-1.0)
    yield create(**{"_$LATEST": 0.5})
    yield create(version="$LATEST", v1=0.5)
    yield w.ask("get_alias", FunctionName=w.name, Name="non-existent")
    yield w.ask("update_alias", FunctionName=w.name, Name="non-existent", Description="x")


def updates_at_the_same_time(w):
    """Of updates that come together one is made; the others find it in progress."""
    name = w.function()
    askers = [Asker(w.access) for _ in range(8)]

    def update(asker):
        return asker.ask("update_function_code", FunctionName=name, ZipFile=code.python(HELLO))

    def refused():
        w.updated(name)
        with ThreadPoolExecutor(len(askers)) as pool:
            answers = list(pool.map(update, askers))
        return [answer for answer in answers if answer.status != 200]

    yield from wait_until(refused, "an update that another one is in the way of", 60)


def reserved_concurrency(w):
    left = w.must("get_account_settings")["AccountLimit"]["UnreservedConcurrentExecutions"]
    w.known("100")

    def put(name, count):
        return w.ask("put_function_concurrency", FunctionName=name, ReservedConcurrentExecutions=count)

    yield put(w.name, left)
    yield put(w.arn() + ":1", 1)
    name = w.function()
    assert put(name, 0).status == 200
    yield w.ask("invoke", FunctionName=name)


def provisioned_concurrency(w):
    def ask(operation, qualifier, name=w.name, **more):
        operation = f"{operation}_provisioned_concurrency_config"
        return w.ask(operation, FunctionName=name, Qualifier=qualifier, **more)

    def put(qualifier, count):
        return ask("put", qualifier, ProvisionedConcurrentExecutions=count)

    left = w.must("get_account_settings")["AccountLimit"]["UnreservedConcurrentExecutions"]
    w.known("100"), w.known(left)
    yield put("1", left)
    yield put("1", left + 1)
    yield put("1", 0)
    yield put("$LATEST", 1)
    yield ask("get", "$LATEST")
    yield ask("get", "noalias")
    yield ask("get", "doesnotexist")
    yield ask("get", "noalias", "doesnotexist")
    yield ask("get", "1", "doesnotexist")
    yield ask("get", "1")
    w.alias(w.known("passing"), "2")
    w.must("delete_alias", FunctionName=w.name, Name="passing")
    yield ask("get", "passing")
    assert put("1", 2).status == 202
    yield put("custom", 1)
    yield w.ask("put_function_concurrency", FunctionName=w.name, ReservedConcurrentExecutions=1)
    assert ask("delete", "1").status == 204
    w.must("put_function_concurrency", FunctionName=w.name, ReservedConcurrentExecutions=1)
    yield put("1", 2)
    w.must("delete_function_concurrency", FunctionName=w.name)
    assert put("custom", 1).status == 202
    yield put("1", 1)
    assert ask("delete", "custom").status == 204


SCENARIOS = [
    names,
    functions_that_are_not_there,
    versions,
    aliases,
    updates_at_the_same_time,
    reserved_concurrency,
    provisioned_concurrency,
]
