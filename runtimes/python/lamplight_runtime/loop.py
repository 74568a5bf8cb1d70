"""Load the handler, then take events and answer them until the process is ended.

Invariants: every event gets exactly one response or error; all a function printed
is on its way before the answer is. `SystemExit`, from a handler or at import, ends
the process with its status and no report, as on AWS.
"""

import importlib
import io
import os
import sys

from . import Fault, codec, imports, logs, sink, wire
from .context import LambdaContext

TRACE = "_X_AMZN_TRACE_ID"
# AWS: how many events there are at once; then one that goes wrong must not end the others.
SEVERAL = None


class _Unbuffered(io.TextIOWrapper):
    """Nothing stays behind when a sandbox is frozen or killed in the middle of a line."""

    def write(self, text):
        count = super().write(text)
        self.flush()
        return count


class _ByLine(io.TextIOWrapper):
    """Several processes write to the same place: a line stays together."""

    def write(self, text):
        count = super().write(text)
        if "\n" in text:
            self.flush()
        return count


def run(handler_name, address):
    """What depends on the environment is read here: these modules may be older than it."""
    global SEVERAL
    SEVERAL = os.environ.get("AWS_LAMBDA_MAX_CONCURRENCY")
    codec.set_up(os.environ)
    sink.set_up(os.environ)
    sys.stdout = sys.__stdout__ = _unbuffered(sys.stdout)
    sys.stderr = sys.__stderr__ = _unbuffered(sys.stderr)
    if SEVERAL:
        from . import crowd

        crowd.run(int(SEVERAL), address, lambda mark: _work(handler_name, address, mark))
    _work(handler_name, address)


def _work(handler_name, address, mark=None):
    api = wire.RuntimeApi(address)
    imports.install()
    try:
        handler = load(handler_name)
    except Exception as error:
        _report(api, "/init/error", error, None)
        _leave(1)
    if os.environ.get("AWS_LAMBDA_INITIALIZATION_TYPE") == "snap-start":
        from . import restore

        restore.run(api, _report)
    if mark is None:
        while True:
            _serve(api, handler, *api.next())
    mark.ready()
    while True:
        headers, body = api.next()
        mark.busy(headers["lambda-runtime-aws-request-id"])
        try:
            _serve(api, handler, headers, body)
        except SystemExit as leaving:
            code = leaving.code
            _leave(code if isinstance(code, int) else 0 if code is None else 1)
        sys.stdout.flush()
        mark.idle()


def _leave(status):
    """Ends this process and no other; what began before the fork is not its to end."""
    if SEVERAL:
        sys.stdout.flush()
        os._exit(status)
    sys.exit(status)


def load(name):
    """The callable that `name` ("module.function", "dir/module.function") means."""
    module_name, dot, function = name.rpartition(".")
    if not dot:
        # AWS: the reason is what Python itself says of the missing half.
        reason = "not enough values to unpack (expected 2, got 1)"
        raise Fault("Runtime.MalformedHandlerName", "Bad handler '%s': %s" % (name, reason))
    if module_name.split(".")[0] in sys.builtin_module_names:
        message = "Cannot use built-in module %s as a handler module" % module_name
        raise Fault("Runtime.BuiltInModuleConflict", message)
    try:
        module = importlib.import_module(module_name.replace("/", "."))
    except ImportError as error:
        message = "Unable to import module '%s': %s" % (module_name, error)
        raise Fault("Runtime.ImportModuleError", message)
    except SyntaxError as error:
        message = "Syntax error in module '%s': %s" % (module_name, error)
        trace = '  File "%s" Line %s\n    %s' % (error.filename, error.lineno, error.text)
        raise Fault("Runtime.UserCodeSyntaxError", message, [trace])
    try:
        return getattr(module, function)
    except AttributeError:
        message = "Handler '%s' missing on module '%s'" % (function, module_name)
        raise Fault("Runtime.HandlerNotFound", message)


def _serve(api, handler, headers, body):
    request_id = headers["lambda-runtime-aws-request-id"]
    logs.current.request_id = request_id
    logs.current.tenant_id = headers.get("lambda-runtime-aws-tenant-id")
    trace = headers.get("lambda-runtime-trace-id")
    if trace is not None:
        os.environ[TRACE] = trace
    else:
        os.environ.pop(TRACE, None)
    try:
        context = LambdaContext(headers)
        event = codec.decode(body, headers.get("content-type"))
        answer, content_type = codec.encode(handler(event, context))
    except Exception as error:
        _report(api, "/invocation/%s/error" % request_id, error, headers)
        return
    about = _about(headers)
    about["Content-Type"] = content_type
    path = "/invocation/%s/response" % request_id
    status, said = api.post(path, about, answer, goes_on=not SEVERAL)
    if status == 413:
        # The caller has been told that the response is too large; the sandbox is as good as before.
        _complain("response", status, said)
    elif status != 202:
        _complain("response", status, said)
        if not SEVERAL:
            raise wire.UnexpectedAnswer("Failed to post invocation response")


def _report(api, path, error, event_headers, kind=None):
    """`kind` goes with it as its error type where it is another than the error's own."""
    from . import faults

    request_id = "" if event_headers is None else event_headers["lambda-runtime-aws-request-id"]
    payload, cause = faults.describe(error, request_id)
    faults.log(payload)
    about = faults.headers(payload, None if event_headers is None else cause)
    about.update(_about(event_headers or {}))
    if kind:
        about["Lambda-Runtime-Function-Error-Type"] = kind
    status, said = api.post(path, about, faults.body(payload))
    if status != 202:
        _complain("error", status, said)
        if not SEVERAL:
            raise wire.UnexpectedAnswer("Failed to post invocation error")


def _about(headers):
    """AWS: one attempt at an event has an id of its own, which its answer repeats."""
    attempt = headers.get("lambda-runtime-invocation-id")
    return {"Lambda-Runtime-Invocation-Id": attempt} if attempt else {}


def _complain(what, status, said):
    text = said.decode("utf-8", "replace")
    sys.stderr.write("[ERROR] The Runtime API refused the %s with status %d. %s\n" % (what, status, text))


def _unbuffered(stream):
    kind = _ByLine if SEVERAL else _Unbuffered
    return kind(stream.detach(), encoding="utf-8", errors="backslashreplace")
