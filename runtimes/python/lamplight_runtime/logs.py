"""The root logger as functions find it on AWS, made when they import `logging`.

`logging` costs as much as the rest of the start, and many functions never use it.
So `imports` waits for it, and has it set up right after it was loaded, before the
importer sees it.

Invariant: `current` holds the ids of the running invocation.
"""

import os

from . import sink

STAMP = "%Y-%m-%dT%H:%M:%S"


class current:
    request_id = None
    tenant_id = None


_handler = None


def set_up(logging):
    if _handler is None:
        prepare(logging)
    level = os.environ.get("AWS_LAMBDA_LOG_LEVEL", "").upper()
    level = "DEBUG" if level == "TRACE" else level
    if os.environ.get("AWS_LAMBDA_LOG_FORMAT", "").upper() == "JSON":
        _handler.setFormatter(_json_formatter(logging))
    if level in ("DEBUG", "INFO", "WARN", "WARNING", "ERROR", "FATAL", "CRITICAL"):
        logging.getLogger().setLevel(level)


def prepare(logging):
    """What is the same for every function."""
    global _handler
    import time

    logging.Formatter.converter = time.gmtime

    class LambdaLoggerHandler(logging.Handler):
        def emit(self, record):
            sink.write(self.format(record), record.levelno)

    class LambdaLoggerFilter(logging.Filter):
        def filter(self, record):
            record.aws_request_id = current.request_id or ""
            record.tenant_id = current.tenant_id
            return True

    _handler = LambdaLoggerHandler()
    line = "[%(levelname)s]\t%(asctime)s.%(msecs)03dZ\t%(aws_request_id)s\t%(message)s\n"
    _handler.setFormatter(logging.Formatter(line, STAMP))
    _handler.addFilter(LambdaLoggerFilter())
    logging.getLogger().addHandler(_handler)


def _json_formatter(logging):
    import json

    encode = json.JSONEncoder(ensure_ascii=False, default=str).encode
    # What a plain record has is known already; any other attribute came from `extra`.
    plain = set(logging.LogRecord("", 0, "", 0, "", (), None).__dict__)
    plain |= {"aws_request_id", "tenant_id"}

    class JsonFormatter(logging.Formatter):
        def format(self, record):
            # AWS: levels between the named ones count as the one below.
            record.levelno = min(50, max(0, record.levelno)) // 10 * 10
            record.levelname = logging.getLevelName(record.levelno)
            whole = isinstance(record.msg, dict) and not record.args
            line = {
                "timestamp": self.formatTime(record, STAMP + "Z"),
                "level": record.levelname,
                "message": record.msg if whole else record.getMessage(),
                "logger": record.name,
            }
            if record.exc_info and record.exc_info[0]:
                import traceback

                kind, error, trace = record.exc_info
                line["stackTrace"] = traceback.format_tb(trace)
                line["errorType"] = kind.__name__
                line["errorMessage"] = str(error)
            line["requestId"] = getattr(record, "aws_request_id", None)
            if "errorType" in line:
                line["location"] = "%s:%s:%s" % (record.pathname, record.funcName, record.lineno)
            line["tenantId"] = getattr(record, "tenant_id", None)
            for name, value in record.__dict__.items():
                if name not in plain:
                    line.setdefault(name, value)
            return encode({name: value for name, value in line.items() if value is not None})

    return JsonFormatter()
