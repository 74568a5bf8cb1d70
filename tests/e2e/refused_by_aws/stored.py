"""What is stored beside functions: URL and event invoke configurations, signing, recursion."""

from harness.provoking import PREFIX


def urls(w):
    def create(**settings):
        return w.ask("create_function_url_config", FunctionName=w.name, AuthType="NONE", **settings)

    yield create(Qualifier="$LATEST")
    yield create(Qualifier="1")
    yield w.ask("get_function_url_config", FunctionName=w.name, Qualifier="2")
    yield create(InvokeMode="UNKNOWN")
    yield w.ask("list_function_url_configs", FunctionName="doesnotexist")
    yield w.ask("get_function_url_config", FunctionName="doesnotexist")
    yield w.ask("get_function_url_config", FunctionName=w.name)
    assert create().status == 201
    yield create()
    w.must("delete_function_url_config", FunctionName=w.name)


def event_invoke_configs(w):
    def put(name=w.name, **settings):
        return w.ask("put_function_event_invoke_config", FunctionName=name, **settings)

    def destination(arn, on="OnSuccess"):
        return {"DestinationConfig": {on: {"Destination": arn}}}

    yield put()
    yield put("doesnotexist", MaximumRetryAttempts=1)
    yield put(**destination(w.arn()))
    yield put(**destination(w.arn("doesnotexist")))
    yield put(**destination(w.arn().replace(":lambda:", ":iam:")))
    yield put(**destination(w.arn().replace(":lambda:", ":_-/!lambda:"), "OnFailure"))
    for name, qualifier in (
        (w.name, "$LATEST"), (w.name, "1"), (w.name, "1221"), (w.name, "doesnotexist"),
        (w.name, "eventinvokealias"), ("doesnotexist", None),
    ):  # fmt: skip
        more = {"Qualifier": qualifier} if qualifier else {}
        yield w.ask("get_function_event_invoke_config", FunctionName=name, **more)


def code_signing(w):
    missing = w.known(f"{PREFIX}:code-signing-config:csc-{'a' * 17}")
    yield w.ask("get_code_signing_config", CodeSigningConfigArn=missing)
    yield w.ask("delete_code_signing_config", CodeSigningConfigArn=missing)
    yield w.ask("put_function_code_signing_config", FunctionName=w.name, CodeSigningConfigArn=missing)
    yield w.ask("get_function_code_signing_config", FunctionName="csc-test-doesnotexist")


def recursion(w):
    yield w.ask("put_function_recursion_config", FunctionName=w.name, RecursiveLoop="InvalidValue")


SCENARIOS = [urls, event_invoke_configs, code_signing, recursion]
