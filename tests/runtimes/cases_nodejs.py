"""The behaviour of a Node.js function as its caller and its log see it, case by case.

From Node.js 24 on a handler answers by its value alone: the cases about callbacks are
for older ones, those of `PROMISES` for newer ones.
"""

import base64
import json
import shutil
import subprocess

from fake_api import Event
from runner import Case, Failed

ID = "00000000-0000-4000-8000-00000000000%d"
BIG = "x" * (6 * 1024 * 1024 - 2)
STREAMS = "exports.handler = awslambda.streamifyResponse(async (event, stream, context) => {%s});"


def node_version():
    if not shutil.which("node"):
        return 20
    told = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True).stdout
    return int(told.lstrip("v").split(".")[0])


PROMISES_ONLY = node_version() >= 24
CRASH = 1 if PROMISES_ONLY else 129
NO_JSON = "Runtime.JSONStringifyError" if PROMISES_ONLY else "Error"
AT_START = "Init Error" if PROMISES_ONLY else "Uncaught Exception"


def returns(expression, before=""):
    return "%s\nexports.handler = async (event, context) => (%s);\n" % (before, expression)


def calls(statements):
    return "exports.handler = (event, context, callback) => {%s};\n" % statements


def does(statements):
    """A handler that takes no callback, and answers null when it comes to its end."""
    return "exports.handler = async (event, context) => {%s};\n" % statements


def says(*parts):
    def check(outcome):
        for part in parts:
            assert part in outcome.stdout + outcome.stderr

    return check


def line(level, text, number=0):
    return "TIME\t%s\t%s\t%s" % (ID % number, level, text)


def trace_starts(*frames):
    def check(outcome):
        assert outcome.posts[0][2]["trace"][: len(frames)] == list(frames)

    return check


def echoes_attempt(outcome):
    assert [headers.get("lambda-runtime-invocation-id") for _, headers, _, _ in outcome.posts] == ["try-1", "try-2"]


def one_connection(outcome):
    assert outcome.connections == 1


def streamed(mode_type, body):
    def check(outcome):
        _, headers, sent, trailers = outcome.posts[0]
        assert headers["lambda-runtime-function-response-mode"] == "streaming"
        assert (headers["content-type"], sent, trailers) == (mode_type, body, {})

    return check


def stream_failed(kind, message, body):
    def check(outcome):
        _, _, sent, trailers = outcome.posts[0]
        assert sent == body
        assert trailers["lambda-runtime-function-error-type"] == kind
        told = json.loads(base64.b64decode(trailers["lambda-runtime-function-error-body"]))
        assert (told["errorType"], told["errorMessage"]) == (kind, message)

    return check


PLAIN = [
    Case("echo", returns("event"), events=({"a": [1, 2.5, True, None]}, [], "text", 0, None),
         answers=[{"a": [1, 2.5, True, None]}, [], "text", 0, None]),
    Case("one connection is kept", returns("event"), events=(1, 2, 3), answers=[1, 2, 3], check=one_connection),
    Case("unicode", returns("({'é': event})"), events=("✓ 🎉",), answers=[{"é": "✓ 🎉"}]),
    Case("state stays between events", returns("++n", "let n = 0;"), events=(1, 2, 3), answers=[1, 2, 3]),
    Case("event in chunks", returns("event.length"), events=(Event("y" * 5000, chunked=True),), answers=[5000]),
    Case("six megabytes both ways", returns("event"), events=(BIG,), answers=[BIG]),
    Case("six megabytes in chunks", returns("event.length"), events=(Event(BIG, chunked=True),), answers=[len(BIG)]),
    Case("connection lost while the function runs", returns("event"),
         events=(Event(1, drop_connection=True), 2), answers=[1, 2], differs="may lose the response"),
    Case("attempt id is repeated", returns("event.a.b"), events=(
        Event({"a": {"b": 1}}, headers={"Lambda-Runtime-Invocation-Id": "try-1"}),
        Event({}, headers={"Lambda-Runtime-Invocation-Id": "try-2"})), check=echoes_attempt,
         differs="knows no attempt ids"),
]

LOADING = [
    Case("handler in a folder", {"a/b.js": returns("'ab'")}, "a/b.handler", answers=["ab"]),
    Case("member of a member", "exports.a = {b: async () => 'ab'}", "app.a.b", answers=["ab"]),
    Case("module by .mjs", {"app.mjs": "export const handler = async () => import.meta.url.slice(-7)"}, answers=["app.mjs"]),
    Case("module by package.json", {"app.js": "export const handler = async () => 'm'",
                                    "package.json": '{"type": "module"}'}, answers=["m"]),
    Case("module that awaits at its top", {"app.mjs": "const n = await Promise.resolve(5);\n"
         "export const handler = async () => n"}, answers=[5]),
    Case("module by .cjs", {"app.cjs": returns("'c'"), "package.json": '{"type": "module"}'}, answers=["c"]),
    Case("package in node_modules", {"node_modules/p/index.js": returns("'p'")}, "p.handler", answers=["p"]),
    Case("module not there", {"other.js": ""}, exit=CRASH, check=says(AT_START + " \t{"), init=Failed(
        "Runtime.ImportModuleError", "Error: Cannot find module 'app'\nRequire stack:\n- /var/runtime/index.mjs"),
         differs="names its own folder"),
    Case("dependency not there", "require('left-pad')", exit=CRASH, init=Failed(
        "Runtime.ImportModuleError", "Error: Cannot find module 'left-pad'\nRequire stack:\n- /var/task/app.js"
        "\n- /var/runtime/index.mjs")),
    Case("import not there", {"app.mjs": "import 'left-pad'"}, exit=CRASH, init=Failed(
        "Error", "Cannot find package 'left-pad' imported from /var/task/app.mjs")),
    Case("function not there", "exports.x = 1", exit=CRASH,
         init=Failed("Runtime.HandlerNotFound", "app.handler is undefined or not exported")),
    Case("function is none", "exports.handler = 1", exit=CRASH,
         init=Failed("Runtime.HandlerNotFound", "app.handler is not a function")),
    Case("syntax error", "exports.handler = (", exit=CRASH,
         init=Failed("Runtime.UserCodeSyntaxError", "SyntaxError: Unexpected end of input")),
    Case("handler name without a dot", returns("1"), "app", exit=CRASH, init=Failed(
        "Runtime.MalformedHandlerName", "Bad handler")),
    Case("handler name with two dots", returns("1"), "../app.handler", exit=CRASH, init=Failed(
        "Runtime.MalformedHandlerName", "'../app.handler' is not a valid handler name. Use absolute paths when "
        "specifying root directories in handler names.")),
    Case("exception at start", "throw new RangeError('at start')", exit=CRASH, init=Failed("RangeError", "at start")),
    Case("exit at start", "console.log('bye'); process.exit(7)", exit=7, answers=[],
         prints=["TIME\tundefined\tINFO\tbye"]),
    Case("rejection at start", "Promise.reject(new Error('r')); exports.handler = async () => 1", exit=128,
         answers=[], init=Failed("Runtime.UnhandledPromiseRejection", "Error: r"),
         differs="serves events while it reports"),
]

FAILURES = [
    Case("exception", "class Odd extends Error {}\nOdd.prototype.name = 'Odd';\nexports.handler = async () => {\n"
         "    const e = new Odd('a\\nb');\n    e.code = 7;\n    throw e;\n};",
         answers=[Failed("Odd", "a\nb")], check=lambda o: "\"code\": 7" in o.stdout),
    Case("stack trace", "function low() {\n  null.x;\n}\nexports.handler = async () => {\n  low();\n};",
         answers=[Failed("TypeError", "Cannot read properties of null (reading 'x')")], check=trace_starts(
             "TypeError: Cannot read properties of null (reading 'x')",
             "    at low (/var/task/app.js:2:8)"), differs="names the handler's frame otherwise"),
    Case("exception without async", does("throw new Error('e')"), answers=[Failed("Error", "e")]),
    Case("serves on after an exception", returns("event.a.b"), events=({}, {"a": {"b": 1}}), answers=[
        Failed("TypeError", "Cannot read properties of undefined (reading 'b')"), 1]),
    Case("text thrown", does("throw 'text'"), answers=[Failed("string", "text")]),
    Case("number thrown", "exports.handler = async () => { throw 42; }", answers=[Failed("number", "42")]),
    Case("object thrown", "exports.handler = async () => { throw {a: 1}; }", answers=[Failed("object", "[object Object]")]),
    Case("null thrown", "exports.handler = async () => { throw null; }", answers=[Failed("object", "null") if PROMISES_ONLY else Failed("string", "handled")]),
    Case("error made by hand", "exports.handler = async () => { throw {name: 'N', message: 'M', stack: 'S'}; }",
         answers=[Failed("N", "M")]),
    Case("error that cannot be asked", "exports.handler = async () => { throw {get name() { throw 1; }}; }",
         check=lambda o: o.answers[0].type == "handled", differs="fails while logging it"),
    Case("rejection nobody handles", does("Promise.reject(new Error('r')); await new Promise((go) => setTimeout(go, 20))"), exit=128,
         answers=[Failed("Runtime.UnhandledPromiseRejection", "Error: r")]),
    Case("exception nobody catches", does("setTimeout(() => { throw new Error('late'); }, 1); "
         "await new Promise((go) => setTimeout(go, 1e6))"), exit=129,
         answers=[Failed("Error", "late")]),
    Case("event that is not JSON", returns("1"), events=(Event(b"{bad"), 2),
         check=lambda o: (o.answers[0].type == "SyntaxError" and o.answers[1] == 1)),
    Case("exit in the handler", does("process.exit(3)"), exit=3, answers=[]),
    Case("no event to be had", returns("1"), events=(Event(b"", status=500),), exit=129, answers=[],
         init=Failed("Error", "Failed to get next invocation, status 500: "),
         check=says("Unexpected Top Level Error: Error: Failed to get next invocation"),
         differs="numbers its errors otherwise"),
    Case("response refused", returns("event"), events=(Event(1, answer=500), 2), answers=[1, 2]),
    Case("response too large for the Runtime API", returns("event"), events=(Event(1, answer=413), 2),
         answers=[1, 2]),
    Case("error name with a line break", "exports.handler = async () => { const e = new Error('m'); "
         "e.name = 'A\\r\\nX: y'; throw e; }", answers=[Failed("A\r\nX: y", "m")]),
]

RESPONSES = [
    Case("nothing returned", returns("undefined"), answers=[None]),
    Case("buffer", returns("Buffer.from('ab')"), answers=[{"type": "Buffer", "data": [97, 98]}]),
    Case("date", returns("({d: new Date(0), u: undefined, n: NaN})"),
         answers=[{"d": "TIME", "n": None}]),
    Case("big integer", returns("({n: 1n})"), answers=[Failed(NO_JSON, "Unable to stringify response body")]),
    Case("circle", returns("o", "const o = {}; o.o = o;"), answers=[Failed(NO_JSON, "Unable to stringify response body")]),
    Case("toJSON that throws", returns("({toJSON() { throw 1; }})"),
         answers=[Failed(NO_JSON, "Unable to stringify response body")]),
]

CALLBACKS = [
    Case("callback", calls("callback(null, 'cb')"), events=(1, 2), answers=["cb", "cb"]),
    Case("callback with an error", calls("callback(new TypeError('t'))"), answers=[Failed("TypeError", "t")]),
    Case("callback with text", calls("callback('t')"), answers=[Failed("string", "t")]),
    Case("callback later", calls("setTimeout(callback, 1, null, 'later')"), answers=["later"]),
    Case("callback waits for the event loop", calls("callback(null, 'r'); setTimeout(() => console.log('work'), 20)"),
         answers=["r"], prints=[line("INFO", "work")]),
    Case("callback does not wait", calls("context.callbackWaitsForEmptyEventLoop = false; "
         "setTimeout(() => {}, 1e6).ref(); callback(null, 'r')"), events=(1, 2), answers=["r", "r"]),
    Case("only the first callback counts", calls("callback(null, 1); callback(null, 2)"), answers=[1]),
    Case("neither answer nor work", calls(""), events=(1, 2), answers=[None, None]),
    Case("value of a plain function", calls("return 5"), answers=[None]),
    Case("promise of a plain function", calls("return Promise.resolve(6)"), answers=[6]),
    Case("something like a promise", calls("return {then(ok) { ok(7); return Promise.resolve(); }}"), answers=[7]),
    Case("context.succeed", calls("context.succeed({s: 1})"), answers=[{"s": 1}]),
    Case("context.fail", calls("context.fail(new Error('f'))"), answers=[Failed("Error", "f")]),
    Case("context.fail with nothing", calls("context.fail()"), answers=[Failed("string", "handled")]),
    Case("context.done", calls("context.done(null, 3)"), answers=[3]),
    Case("context.done with an error", calls("context.done('e', 3)"), answers=[Failed("string", "e")]),
    Case("promise that never settles", "exports.handler = () => new Promise(() => {});", answers=[None]),
    Case("members of the context", returns("Object.keys(context)"), answers=[[
        "callbackWaitsForEmptyEventLoop", "succeed", "fail", "done", "functionVersion", "functionName",
        "memoryLimitInMB", "logGroupName", "logStreamName", "clientContext", "identity", "invokedFunctionArn",
        "awsRequestId", "tenantId", "getRemainingTimeInMillis"]]),
    Case("big integer by callback", calls("callback(null, 1n)"), exit=129,
         answers=[Failed(NO_JSON, "Unable to stringify response body")]),
]

PROMISES = [
    Case("value of a plain function", "exports.handler = (event, context) => 5", answers=[5]),
    Case("promise of a plain function", "exports.handler = (event) => Promise.resolve(6)", answers=[6]),
    Case("callback is refused", calls("callback(null, 1)"), exit=1, answers=[], init=Failed(
        "Runtime.CallbackHandlerDeprecated", "ERROR: AWS Lambda has removed support for callback-based function "
        "handlers starting with Node.js 24. You need to modify this function to use a supported handler signature to "
        "use Node.js 24 or later. For more information see "
        "https://docs.aws.amazon.com/lambda/latest/dg/nodejs-handler.html.")),
    Case("context without callbacks", returns("[context.done, context.succeed, context.fail, "
         "'callbackWaitsForEmptyEventLoop' in context, context.xRayTraceId.slice(0, 5)]"),
         answers=[[None, None, None, False, "Root="]]),
    Case("promise that never settles", "exports.handler = () => new Promise(() => {});", exit=0, answers=[]),
]

LOGS = [
    Case("console", does("console.log('a\\nb %s', 1, {c: 2}); console.info('i'); console.warn('w'); "
         "console.error('e'); console.debug('d'); console.trace('t')"), prints=[
             line("INFO", "a\rb 1 { c: 2 }"), line("INFO", "i"), line("WARN", "w"), line("ERROR", "e"),
             line("DEBUG", "d"), line("TRACE", "t")]),
    Case("console at start", "console.log('init');" + returns("1"), prints=["TIME\tundefined\tINFO\tinit"]),
    Case("stdout as it is", does("process.stdout.write('raw\\nx')"), prints=["raw", "x"]),
    Case("log level from the settings", does("console.debug('d'); console.log('l'); console.warn('w')"),
         env={"AWS_LAMBDA_LOG_LEVEL": "WARN"}, prints=[line("WARN", "w")]),
    Case("console in JSON", does("console.log('a', 1); console.log({k: 1}); console.warn(new Error('x').message)"), env={"AWS_LAMBDA_LOG_FORMAT": "JSON"}, check=lambda o: [
             (record["level"], record["message"], record["requestId"]) for record in map(json.loads, o.lines())] == [
                 ("INFO", "a 1", ID % 0), ("INFO", {"k": 1}, ID % 0), ("WARN", "x", ID % 0)]),
    Case("error in JSON", does("console.error('oh', new TypeError('t')); console.error(new TypeError('u'))"),
         env={"AWS_LAMBDA_LOG_FORMAT": "JSON"},
         check=says('"errorType": "TypeError"', '"errorMessage": "t"', '"errorMessage": "u"'),
         differs="shows frames of its own inside the message"),
    Case("failure in JSON", does("throw new TypeError('t')"), env={"AWS_LAMBDA_LOG_FORMAT": "JSON"},
         answers=[Failed("TypeError", "t")], check=says('"level": "ERROR"', '"errorMessage": "t"')),
    Case("circle in JSON", does("const o = {}; o.o = o; console.log(o)"),
         env={"AWS_LAMBDA_LOG_FORMAT": "JSON"}, check=says("[Circular *1]")),
    Case("tenant in JSON", does("console.log('t')"), env={"AWS_LAMBDA_LOG_FORMAT": "JSON"},
         events=(Event(1, headers={"Lambda-Runtime-Aws-Tenant-Id": "blue"}),), check=says('"tenantId": "blue"')),
]

CONTEXT = [
    Case("context", returns("Object.assign({}, context, {xRayTraceId: undefined})"), answers=[{
        **({} if PROMISES_ONLY else {"callbackWaitsForEmptyEventLoop": True}), "functionVersion": "$LATEST", "functionName": "f",
        "memoryLimitInMB": "128", "logGroupName": "/aws/lambda/f",
        "logStreamName": "2026/01/01/[$LATEST]0123456789abcdef0123456789abcdef",
        "invokedFunctionArn": "arn:aws:lambda:us-east-1:123456789012:function:f", "awsRequestId": ID % 0}]),
    Case("remaining time", returns("context.getRemainingTimeInMillis() > 1e12"), answers=[True]),
    Case("client context, identity and tenant", returns("[context.clientContext.custom.k, context.identity, context.tenantId]"),
         events=(Event(1, headers={"Lambda-Runtime-Client-Context": '{"custom": {"k": 1}}',
                                   "Lambda-Runtime-Cognito-Identity": '{"cognitoIdentityId": "i"}',
                                   "Lambda-Runtime-Aws-Tenant-Id": "blue"}),),
         answers=[[1, {"cognitoIdentityId": "i"}, "blue"]]),
    Case("client context that is not JSON", returns("1"), events=(
        Event(1, headers={"Lambda-Runtime-Client-Context": "nope"}), 2), check=lambda o: (
            o.answers[0].message.startswith("Cannot parse ClientContext as json: SyntaxError") and o.answers[1] == 1)),
    Case("trace id", returns("process.env._X_AMZN_TRACE_ID ?? null"), events=(
        Event(1, headers={"Lambda-Runtime-Trace-Id": "Root=1"}), Event(2, headers={"Lambda-Runtime-Trace-Id": None})),
         answers=["Root=1", None]),
]

STREAMING = [
    Case("stream", STREAMS % "stream.write('a'); stream.write({b: 1}); stream.write(Buffer.from('c')); stream.end();",
         events=(1, 2), check=streamed("application/octet-stream", b'a{"b":1}c')),
    Case("stream with its type", STREAMS % "stream.setContentType('text/html'); stream.end('<p>');",
         check=streamed("text/html", b"<p>"), differs="ignores what is given to end()"),
    Case("stream with a prelude", STREAMS % "stream = awslambda.HttpResponseStream.from(stream, {statusCode: 201}); "
         "stream.write('body'); stream.end();",
         check=streamed("application/vnd.awslambda.http-integration-response",
                        b'{"statusCode":201}' + bytes(8) + b"body")),
    Case("stream through a pipeline", STREAMS % "await require('node:stream/promises').pipeline("
         "require('node:stream').Readable.from(['x', 'y']), stream);", check=lambda o: o.posts[0][2] == b"xy"),
    Case("stream that fails", STREAMS % "stream.write('a'); throw new TypeError('t');",
         check=stream_failed("TypeError", "t", b"a"), differs="has frames of its own in the trailer"),
    Case("stream by a plain function", "exports.handler = awslambda.streamifyResponse((event, stream) => {});",
         check=stream_failed("string", "Streaming does not support non-async handlers.", b"")),
    Case("content type too late", STREAMS % "stream.write('a'); stream.setContentType('text/html'); stream.end();",
         check=stream_failed("Runtime.InvalidStreamingOperation", "Cannot set content-type, too late.", b"a"),
         differs="has frames of its own in the trailer"),
]

CASES = PLAIN + LOADING + FAILURES + RESPONSES + LOGS + CONTEXT + STREAMING
CASES += PROMISES if PROMISES_ONLY else CALLBACKS
