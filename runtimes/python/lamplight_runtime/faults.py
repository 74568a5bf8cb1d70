"""What a failure looks like: to the caller, to X-Ray and in the log.

Imported only when something has failed. Invariant: describing a failure does not
fail, whatever the function's exception does when it is asked for its text.
"""

import os
import time
import traceback

from . import Fault, codec, sink

# AWS: header values above this are not kept.
XRAY_LIMIT = 64 * 1024
# `logging.ERROR`.
ERROR = 40
NO_BREAK_SPACE = "\u00a0"


def describe(error, request_id):
    """The payload of an exception, and the cause document for X-Ray."""
    if isinstance(error, Fault):
        kind, message, trace = error.kind, error.message, error.trace
        cause = _cause("LambdaValidationError", message, [])
    else:
        frames = _frames(error)
        kind, message = type(error).__name__, _text(error)
        trace = traceback.format_list(frames)
        cause = _cause(kind, message, frames)
    payload = {"errorMessage": message, "errorType": kind, "requestId": request_id, "stackTrace": trace}
    return payload, cause


def headers(payload, cause=None):
    """Header fields of an error report; nothing in them can end a line."""
    kind = payload["errorType"].encode("ascii", "replace").decode()
    found = {
        "Content-Type": "application/json",
        "Lambda-Runtime-Function-Error-Type": "".join(c if c.isprintable() else "?" for c in kind),
    }
    if cause is not None:
        import json

        text = json.dumps(cause)
        if len(text) <= XRAY_LIMIT:
            found["Lambda-Runtime-Function-XRay-Error-Cause"] = text
    return found


def body(payload):
    return codec.to_json(payload).encode("utf-8", "backslashreplace")


def log(payload):
    """One event on the log. AWS: where that has to be one line, carriage returns join its parts."""
    if os.environ.get("AWS_LAMBDA_LOG_FORMAT", "").upper() == "JSON":
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        text = codec.to_json({"timestamp": now, "level": "ERROR", **payload})
    else:
        text = ("\n" if sink.FRAMED else "\r").join(_log_lines(payload))
    sink.write(text, ERROR)


def _log_lines(payload):
    first = "[ERROR] " + payload["errorType"]
    if payload["errorMessage"]:
        first += ": " + payload["errorMessage"]
    yield first
    yield "Traceback (most recent call last):"
    for frame in payload["stackTrace"]:
        for line in frame.splitlines():
            # AWS: leading blanks would be lost in the console, so they are no-break spaces.
            stripped = line.lstrip(" ")
            yield NO_BREAK_SPACE * (len(line) - len(stripped)) + stripped


def _frames(error):
    """(file, line, function, source) from the function's first frame on."""
    own = os.path.dirname(__file__)
    found = [tuple(frame) for frame in traceback.extract_tb(error.__traceback__)]
    start = 0
    while start < len(found) - 1 and found[start][0].startswith(own):
        start += 1
    return found[start:]


def _text(error):
    try:
        return str(error)
    except Exception:
        return "<exception str() failed>"


def _cause(kind, message, frames):
    stack = [{"label": frame[2], "path": frame[0], "line": frame[1]} for frame in frames]
    return {
        "working_directory": os.getcwd(),
        "exceptions": [{"message": message, "type": kind, "stack": stack}],
        "paths": sorted({frame[0] for frame in frames}),
    }
