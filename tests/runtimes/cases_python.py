"""The behaviour of a Python function as its caller and its log see it, case by case."""

import math
import os
import sys

from fake_api import Event
from runner import Case, Failed

NBSP = "\u00a0"
ID = "00000000-0000-4000-8000-00000000000%d"
BIG = "x" * (6 * 1024 * 1024 - 2)


def returns(expression, before=""):
    return "%s\ndef handler(event, context):\n    return %s\n" % (before, expression)


def fails(name, message, expression, before="", **more):
    return Case(name, returns(expression, before), answers=[Failed("Runtime.MarshalError", message)], **more)


def only_nan(outcome):
    values = outcome.answers[0]
    assert math.isnan(values[0]) and values[1:] == [math.inf, -math.inf]


def error_headers(outcome):
    assert outcome.posts[0][1]["content-type"] == "application/json"
    cause = outcome.posts[0][1]["lambda-runtime-function-xray-error-cause"]
    assert cause["exceptions"][0]["stack"] == [{"label": "handler", "path": "/var/task/app.py", "line": 2}]


def stack_trace(*frames):
    def check(outcome):
        assert outcome.posts[0][2]["stackTrace"] == list(frames)

    return check


def trace_ends_in_function(outcome):
    trace = outcome.posts[0][2]["stackTrace"]
    assert trace[-1] == '  File "/var/task/app.py", line 1, in <module>\n    raise RuntimeError(\'at import\')\n'
    assert "import_module" in trace[0]


def echoes_attempt(outcome):
    assert [headers.get("lambda-runtime-invocation-id") for _, headers, _, _ in outcome.posts] == ["try-1", "try-2"]


def one_connection(outcome):
    assert outcome.connections == 1


def names(*parts):
    def check(outcome):
        for part in parts:
            assert part in outcome.stdout + outcome.stderr

    return check


SNAP_START = {"AWS_LAMBDA_INITIALIZATION_TYPE": "snap-start"}
HOOKS = """
import snapshot_restore_py as hooks
seen = []
for number in (1, 2):
    hooks.register_before_snapshot(seen.append, "before %d" % number)
    hooks.register_after_restore(seen.append, "after %d" % number)
"""


def reported_at(*where):
    def check(outcome):
        assert tuple(post[0] for post in outcome.posts) == where

    return check


RESTORED = [
    Case("hooks around a snapshot", HOOKS + returns("seen"), env=SNAP_START,
         answers=[["before 2", "before 1", "after 1", "after 2"]]),
    Case("hooks without a snapshot", HOOKS + returns("seen"), answers=[[]]),
    Case("no hooks", returns("1"), env=SNAP_START, answers=[1]),
    Case("a hook fails before the snapshot", HOOKS + "hooks.register_before_snapshot(lambda: int('x'))\n" + returns("1"),
         env=SNAP_START, exit=64, check=reported_at("/init/error"), differs="its own frames are in the trace",
         init=Failed("ValueError", "invalid literal for int() with base 10: 'x'")),
    Case("a hook fails after the restore", HOOKS + "hooks.register_after_restore(lambda: int('x'))\n" + returns("1"),
         env=SNAP_START, exit=65, check=reported_at("/restore/error"), differs="its own frames are in the trace",
         init=Failed("ValueError", "invalid literal for int() with base 10: 'x'")),
]

PLAIN = [
    Case("echo", returns("event"), events=({"a": [1, 2.5, True, None]}, [], "text", 0, None),
         answers=[{"a": [1, 2.5, True, None]}, [], "text", 0, None], check=one_connection),
    Case("unicode", returns("{'é': event}"), events=("✓ 🎉 \u2028",), answers=[{"é": "✓ 🎉 \u2028"}]),
    Case("unicode as it is from 3.12", returns("event"), events=("é🎉",), answers=["é🎉"],
         env={"AWS_EXECUTION_ENV": "AWS_Lambda_python3.12"}),
    Case("returns nothing", "def handler(event, context): pass", answers=[None]),
    Case("state stays between events", "n = 0\ndef handler(e, c):\n    global n\n    n += 1\n    return n",
         events=(1, 2, 3), answers=[1, 2, 3]),
    Case("surrounding blanks in the event", returns("event"), events=(Event(b' \n{"a": 1}\r\n '),), answers=[{"a": 1}]),
    Case("event in chunks", returns("len(event)"), events=(Event("y" * 5000, chunked=True),), answers=[5000]),
    Case("six megabytes both ways", returns("event"), events=(BIG,), answers=[BIG]),
    Case("six megabytes in chunks", returns("len(event)"), events=(Event(BIG, chunked=True),), answers=[len(BIG)]),
    Case("connection lost while the function runs", returns("event"),
         events=(Event(1, drop_connection=True), 2), answers=[1, 2], differs="may lose the response"),
    Case("event of another type", returns("[type(event).__name__, event.decode()]"),
         events=(Event(b"raw", headers={"Content-Type": "text/plain"}),), answers=[["bytes", "raw"]]),
    Case("attempt id is repeated", returns("1 / event"), answers=[1.0, Failed("ZeroDivisionError", "division by zero")],
         events=(Event(1, headers={"Lambda-Runtime-Invocation-Id": "try-1"}),
                 Event(0, headers={"Lambda-Runtime-Invocation-Id": "try-2"})), check=echoes_attempt),
]

LOADING = [
    Case("handler in a folder", {"a/b.py": returns("'ab'")}, "a/b.handler", answers=["ab"]),
    Case("handler in a package", {"a/__init__.py": "", "a/b.py": returns("'ab'")}, "a.b.handler", answers=["ab"]),
    Case("module not there", {"other.py": ""}, exit=1,
         init=Failed("Runtime.ImportModuleError", "Unable to import module 'app': No module named 'app'"),
         prints=["[ERROR] Runtime.ImportModuleError: Unable to import module 'app': No module named 'app'"
                 "\rTraceback (most recent call last):"]),
    Case("dependency not there", "import left_pad", exit=1,
         init=Failed("Runtime.ImportModuleError", "Unable to import module 'app': No module named 'left_pad'")),
    Case("name imported is not there", "from os import nothing_like_this", exit=1,
         check=names("Runtime.ImportModuleError: Unable to import module 'app': cannot import name"),
         init=Failed("Runtime.ImportModuleError", "Unable to import module 'app': cannot import name "
                     "'nothing_like_this' from 'os' (%s)" % os.__file__)),
    Case("function not there", "x = 1", exit=1,
         init=Failed("Runtime.HandlerNotFound", "Handler 'handler' missing on module 'app'")),
    Case("syntax error", "def handler(event, context)\n    pass", exit=1, check=stack_trace(
        '  File "/var/task/app.py" Line 1\n    def handler(event, context)\n'),
         init=Failed("Runtime.UserCodeSyntaxError", "Syntax error in module 'app': " + (
             "expected ':' (app.py, line 1)" if sys.version_info >= (3, 10)
             else "invalid syntax (app.py, line 1)"))),
    Case("handler name without a dot", returns("1"), "app", exit=1, init=Failed(
        "Runtime.MalformedHandlerName", "Bad handler 'app': not enough values to unpack (expected 2, got 1)")),
    Case("built-in module", returns("1"), "time.handler", exit=1, init=Failed(
        "Runtime.BuiltInModuleConflict", "Cannot use built-in module time as a handler module")),
    Case("exception at import", "raise RuntimeError('at import')", exit=1,
         init=Failed("RuntimeError", "at import"), check=trace_ends_in_function),
    Case("exit at import", "import sys\nprint('bye')\nsys.exit(7)", exit=7, answers=[], prints=["bye"]),
    Case("handler cannot be called", "handler = 3", answers=[Failed("TypeError", "'int' object is not callable")],
         differs="shows frames of its own"),
    Case("the function's files do not hide Python's", {
        "app.py": returns("[hasattr(m, 'me') for m in (types, json, string, colorsys)]",
                          "import types, json, string, colorsys, logging\nlogging.warning('w')"),
        **{name + ".py": "me = 1" for name in ("types", "json", "string", "colorsys", "logging", "traceback")}},
         answers=[[False, False, False, True]], prints=["[WARNING]\tTIME\t\tw"],
         differs="is started in the function's folder here, and finds its files itself"),
    Case("logging keeps its loader", returns("[logging.__spec__.loader is logging.__loader__, "
         "type(logging.__loader__).__name__, 'def getLogger' in inspect.getsource(logging)]", "import inspect, logging"),
         answers=[[True, "SourceFileLoader", True]]),
    Case("task root comes first", {"app.py": returns("[colorsys.me, sys.path[0]]", "import colorsys, sys"),
                                   "colorsys.py": "me = 'mine'"},
         answers=[["mine", "/var/task"]], differs="has '' in place of the task root's name"),
    Case("site-packages come last", returns("[p for p in sys.path if p.endswith('-packages')] == sys.path[-1:] "
                                            "or len(sys.path) - sys.path.index([p for p in sys.path if "
                                            "p.endswith('-packages')][-1])", "import sys"), answers=[True],
         differs="starts with the interpreter's own site"),
]

FAILURES = [
    Case("exception", "def handler(event, context):\n    raise Exception('Handler fails')",
         answers=[Failed("Exception", "Handler fails")], check=error_headers,
         prints=["[ERROR] Exception: Handler fails\rTraceback (most recent call last):\r"
                 + NBSP * 2 + 'File "/var/task/app.py", line 2, in handler\r' + NBSP * 4
                 + "raise Exception('Handler fails')"]),
    Case("exception below the handler", "def low():\n    return {}['k']\ndef handler(event, context):\n    return low()",
         answers=[Failed("KeyError", "'k'")], check=stack_trace(
             '  File "/var/task/app.py", line 4, in handler\n    return low()\n',
             '  File "/var/task/app.py", line 2, in low\n    return {}[\'k\']\n')),
    Case("exception class of the function", "class Odd(ValueError): pass\ndef handler(e, c):\n    raise Odd('é\\nb')",
         answers=[Failed("Odd", "é\nb")]),
    Case("exception without a message", "def handler(e, c):\n    raise ValueError()", answers=[Failed("ValueError", "")]),
    Case("exception with a cause", "def handler(e, c):\n    try:\n        1 / 0\n    except ZeroDivisionError as z:\n"
         "        raise OSError(2, 'gone') from z", answers=[Failed("FileNotFoundError", "[Errno 2] gone")]),
    Case("serves on after an exception", returns("1 / event"), events=(0, 1),
         answers=[Failed("ZeroDivisionError", "division by zero"), 1.0]),
    Case("endless recursion", "def handler(e, c):\n    return handler(e, c)",
         answers=[Failed("RecursionError", "maximum recursion depth exceeded")],
         differs="sends an X-Ray document above what is kept"),
    Case("exception that has no text", "class Bad(Exception):\n    def __str__(self):\n        raise OSError()\n"
         "def handler(e, c):\n    raise Bad()", answers=[Failed("Bad", "<exception str() failed>")],
         differs="ends with a traceback"),
    Case("exception name with a line break", "def handler(e, c):\n    raise type('A\\r\\nX: y', (Exception,), {})('m')",
         answers=[Failed("A\r\nX: y", "m")], differs="has no error type header for an invocation"),
    Case("event that is not JSON", returns("1"), events=(Event(b"{bad"), 2), answers=[
        Failed("Runtime.UnmarshalError", "Unable to unmarshal input: Expecting property name enclosed in double "
               "quotes: line 1 column 2 (char 1)"), 1], differs="simplejson words it otherwise"),
    Case("empty event", returns("1"), events=(Event(b""),), answers=[
        Failed("Runtime.UnmarshalError", "Unable to unmarshal input: Expecting value: line 1 column 1 (char 0)")]),
    Case("exit in the handler", "import sys\ndef handler(e, c):\n    print('x', end='')\n    sys.exit(3)",
         exit=3, answers=[], prints=["x"]),
    Case("exit without a code", "def handler(e, c):\n    exit()", exit=0, answers=[]),
    Case("hard exit", "import os\ndef handler(e, c):\n    print('x', end='')\n    os._exit(4)",
         exit=4, answers=[], prints=["x"]),
    Case("no event to be had", returns("1"), events=(Event(1, status=500),), exit=1, answers=[]),
    Case("default time limit for sockets", returns("event", "import socket\nsocket.setdefaulttimeout(0.05)"),
         events=(Event(1, late=0.3),), answers=[1]),
    Case("response refused", returns("event"), events=(Event(1, answer=500), 2), exit=1, answers=[1],
         check=names("Failed to post invocation response")),
    Case("response too large for the Runtime API", returns("event"), events=(Event(1, answer=413), 2), answers=[1, 2],
         check=names("status 413"), differs="ends with exit status 1"),
]

RESPONSES = [
    fails("response not JSON", "Unable to marshal response: Object of type datetime is not JSON serializable",
          "datetime.datetime.now()", "import datetime"),
    fails("response with a set", "Unable to marshal response: Object of type set is not JSON serializable", "{'a': {1}}"),
    fails("response is a generator", "Unable to marshal response: Object of type generator is not JSON serializable",
          "(n for n in [1])"),
    fails("response with a circle", "Unable to marshal response: Circular reference detected", "a", "a = []\na.append(a)"),
    fails("bytes that are no text", "Unable to marshal response: 'utf-8' codec can't decode byte 0xff in position 0: "
          "invalid start byte", "[b'\\xff']"),
    Case("decimals", returns("{'a': D('1.10'), 'b': [D('1E+3'), D('-0')]}", "from decimal import Decimal as D"),
         answers=[{"a": 1.1, "b": [1000.0, 0]}]),
    Case("a decimal alone", returns("Decimal('12.50')", "from decimal import Decimal"), answers=[12.5]),
    Case("numbers that are none", returns("[Decimal('NaN'), float('inf'), -float('inf')]", "from decimal import Decimal"),
         check=only_nan, differs="equal, but NaN is not equal to itself"),
    Case("bytes", returns("b'\\x00\\xff'"), answers=[b"\x00\xff"],
         check=lambda o: o.posts[0][1]["content-type"] == "application/unknown"),
    Case("bytes inside", returns("{'a': b'text', b'k': [b'']}"), answers=[{"a": "text", "k": [""]}]),
    Case("named tuples", returns("[P(1, [P(2, 3)]), (4, 5)]", "import collections\n"
         "P = collections.namedtuple('P', 'x y')"), answers=[[{"x": 1, "y": [{"x": 2, "y": 3}]}, [4, 5]]]),
    Case("keys that are not text", returns("{1: 'a', True: 'b', None: 'c', 2.5: 'd'}"),
         answers=[{"1": "b", "null": "c", "2.5": "d"}]),
    Case("enumerations", returns("[E.A, S.A]", "import enum\nclass E(enum.IntEnum):\n    A = 1\n"
         "class S(str, enum.Enum):\n    A = 'a'"), answers=[[1, "a"]]),
    Case("half a character", returns("'\\ud800'"), answers=["\ud800"]),
    Case("half a character as it is", returns("'\\ud800'"), env={"AWS_EXECUTION_ENV": "AWS_Lambda_python3.13"},
         answers=[Failed("Runtime.MarshalError", "Unable to marshal response: 'utf-8' codec can't encode character "
                         "'\\ud800' in position 1: surrogates not allowed")], differs="ends with a traceback"),
]

LOG = "import logging\nlog = logging.getLogger()\nlog.setLevel('INFO')\n"

LOGS = [
    Case("print", "print('init')\ndef handler(e, c):\n    print('a\\nb')\n    print('c', end='')", events=(1, 2),
         prints=["init", "a", "b", "ca", "b", "c"]),
    Case("print to stderr", "import sys\ndef handler(e, c):\n    print('oops', file=sys.stderr)",
         check=lambda o: o.stderr == "oops\n"),
    Case("logging", LOG + "log.info('init')\ndef handler(e, c):\n    log.info('a\\nb %s', 1)\n    log.debug('no')",
         prints=["[INFO]\tTIME\t\tinit", "[INFO]\tTIME\t%s\ta" % (ID % 0), "b 1"]),
    Case("logging imported late", "def handler(e, c):\n    import logging\n    logging.warning('é')",
         prints=["[WARNING]\tTIME\t%s\té" % (ID % 0)]),
    Case("logging below the root's level", "import logging\ndef handler(e, c):\n    logging.info('no')\n"
         "    logging.getLogger('x').error('yes')", prints=["[ERROR]\tTIME\t%s\tyes" % (ID % 0)]),
    Case("log level from the settings", "import logging\ndef handler(e, c):\n    logging.debug('d')",
         env={"AWS_LAMBDA_LOG_LEVEL": "TRACE"}, prints=["[DEBUG]\tTIME\t%s\td" % (ID % 0)]),
    Case("basicConfig changes nothing", "import logging\nlogging.basicConfig(format='X', level='DEBUG')\n"
         "def handler(e, c):\n    logging.error('e')", prints=["[ERROR]\tTIME\t%s\te" % (ID % 0)]),
    Case("logging an exception", LOG + "def handler(e, c):\n    try:\n        1 / 0\n    except ZeroDivisionError:\n"
         "        log.exception('oh')\n    log.info('next')", check=names("by zero\n[INFO]"),
         differs="leaves the next record on the traceback's last line"),
    Case("context.log", "def handler(e, c):\n    c.log('a\\n')\n    c.log(1)", prints=["a", "1"]),
    Case("logging in JSON", LOG + "def handler(e, c):\n    log.info('é %s', 1, extra={'k': [1]})\n    log.info({'m': 2})\n"
         "    log.log(35, 'between')", env={"AWS_LAMBDA_LOG_FORMAT": "JSON"}, prints=[
             '{"timestamp": "TIME", "level": "INFO", "message": "é 1", "logger": "root", "requestId": "%s", "k": [1]}' % (ID % 0),
             '{"timestamp": "TIME", "level": "INFO", "message": {"m": 2}, "logger": "root", "requestId": "%s"}' % (ID % 0),
             '{"timestamp": "TIME", "level": "WARNING", "message": "between", "logger": "root", "requestId": "%s"}' % (ID % 0)]),
    Case("logging an exception in JSON", LOG + "def handler(e, c):\n    try:\n        1 / 0\n"
         "    except ZeroDivisionError:\n        log.exception('oh')", env={"AWS_LAMBDA_LOG_FORMAT": "JSON"},
         check=names('"errorType": "ZeroDivisionError"', '"location": "/var/task/app.py:handler:8"')),
    Case("failure in JSON", "def handler(e, c):\n    raise ValueError('v')", env={"AWS_LAMBDA_LOG_FORMAT": "JSON"},
         answers=[Failed("ValueError", "v")],
         check=names('{"timestamp": "TIME", "level": "ERROR", "errorMessage": "v", "errorType": "ValueError"')),
    Case("JSON log level and tenant", "import logging\ndef handler(e, c):\n    logging.error('e')\n    logging.warning('w')",
         env={"AWS_LAMBDA_LOG_FORMAT": "JSON", "AWS_LAMBDA_LOG_LEVEL": "ERROR"},
         events=(Event(1, headers={"Lambda-Runtime-Aws-Tenant-Id": "blue"}),),
         check=lambda o: (o.stdout.count("\n") == 1 and '"tenantId": "blue"' in o.stdout)),
    Case("thread prints", "import threading\ndef handler(e, c):\n    t = threading.Thread(target=print, args=('t',))\n"
         "    t.start()\n    t.join()", prints=["t"]),
    Case("output sent elsewhere", "import contextlib, io\ndef handler(e, c):\n    s = io.StringIO()\n"
         "    with contextlib.redirect_stdout(s):\n        print('kept')\n    return s.getvalue()",
         answers=["kept\n"], prints=[]),
]

CLIENT = ('{"client": {"installation_id": "i", "app_title": "t"}, "custom": {"k": 1}, "env": {"e": 2}, '
          '"w3c": {"traceparent": "00-1", "other": "x", "tracestate": 5}}')

CONTEXT = [
    Case("context", returns("[c.function_name, c.function_version, c.memory_limit_in_mb, c.aws_request_id, "
         "c.log_group_name, c.log_stream_name, c.invoked_function_arn, c.tenant_id, c.client_context, "
         "c.identity.cognito_identity_id]".replace("c.", "context.")), answers=[[
             "f", "$LATEST", "128", ID % 0, "/aws/lambda/f", "2026/01/01/[$LATEST]0123456789abcdef0123456789abcdef",
             "arn:aws:lambda:us-east-1:123456789012:function:f", None, None, None]]),
    Case("context as text", returns("repr(context)"), events=(Event(1, headers={
        "Lambda-Runtime-Client-Context": CLIENT, "Lambda-Runtime-Aws-Tenant-Id": "blue"}),)),
    Case("remaining time", returns("context.get_remaining_time_in_millis() > 10**12"), answers=[True]),
    Case("remaining time is over", returns("context.get_remaining_time_in_millis()"),
         events=(Event(1, headers={"Lambda-Runtime-Deadline-Ms": "1000"}),), answers=[0]),
    Case("client context and identity", returns("[x.client.app_title, x.custom, x.env, x.client.app_version_name, "
         "context.identity.cognito_identity_id, context.identity.cognito_identity_pool_id]").replace(
             "x.", "context.client_context."), events=(Event(1, headers={
                 "Lambda-Runtime-Client-Context": CLIENT,
                 "Lambda-Runtime-Cognito-Identity": '{"cognitoIdentityId": "i", "cognitoIdentityPoolId": "p"}'}),),
         answers=[["t", {"k": 1}, {"e": 2}, None, "i", "p"]]),
    Case("w3c trace context", returns("[context.w3c(), hasattr(context.client_context, 'w3c')]"), events=(
        1, Event(1, headers={"Lambda-Runtime-Client-Context": CLIENT})),
         answers=[[{}, False], [{"traceparent": "00-1"}, False]],
         differs="" if sys.version_info >= (3, 10) else "is too old on this Python"),
    Case("client context that is not JSON", returns("1"), events=(
        Event(1, headers={"Lambda-Runtime-Client-Context": "nope"}),), answers=[Failed(
            "Runtime.LambdaContextUnmarshalError",
            "Unable to parse Client Context JSON: Expecting value: line 1 column 1 (char 0)")]),
    Case("trace id", returns("os.environ.get('_X_AMZN_TRACE_ID')", "import os"), events=(
        Event(1, headers={"Lambda-Runtime-Trace-Id": "Root=1"}), Event(2, headers={"Lambda-Runtime-Trace-Id": None})),
         answers=["Root=1", None]),
]

CASES = PLAIN + RESTORED + LOADING + FAILURES + RESPONSES + LOGS + CONTEXT
