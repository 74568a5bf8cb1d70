"""Events from JSON, responses to JSON, as AWS's Python runtime does it.

AWS's runtime encodes with simplejson. What differs from the standard library is
made up for here: Decimal becomes a number of the same digits, a named tuple becomes
an object, bytes inside a value become text.

The C halves of `json` are used directly, because importing `json` loads `re` and
`enum` and takes a third of the start. They serve only what succeeds: whatever they
refuse is given to `json` itself, whose word (and error text) is final.
"""

import os
import sys

from . import Fault

SPACE = " \t\n\r"
CONSTANTS = {"NaN": float("nan"), "Infinity": float("inf"), "-Infinity": float("-inf")}
# AWS: from Python 3.12 on, responses carry characters as they are, not escaped.
ESCAPING = (
    "",
    "AWS_Lambda_python3.8",
    "AWS_Lambda_python3.9",
    "AWS_Lambda_python3.10",
    "AWS_Lambda_python3.11",
)
_ascii = True
PLAIN = frozenset((str, int, float, bool, type(None)))


class _ScannerSettings:
    strict = True
    parse_float = float
    parse_int = int
    parse_constant = CONSTANTS.__getitem__

    def __getattr__(self, _name):
        # Every hook there is, or that a later Python adds, is off.
        return None


try:
    import _json

    _scan = _json.make_scanner(_ScannerSettings())
    _texts = (_json.encode_basestring, _json.encode_basestring_ascii)
    _json.make_encoder(None, None, _texts[0], None, ": ", ", ", False, False, True)
except (ImportError, AttributeError, TypeError):
    # An interpreter without the C halves, or with others than we know.
    _json = None


def set_up(environ):
    global _ascii
    _ascii = environ.get("AWS_EXECUTION_ENV", "") in ESCAPING


def decode(body, content_type):
    """The event; anything that is not called JSON reaches the handler as bytes."""
    if content_type != "application/json":
        return body
    try:
        text = body.decode("utf-8").lstrip(SPACE)
        event, end = _scan(text, 0)
        if not text[end:].strip(SPACE):
            return event
    except Exception:
        pass
    try:
        import json

        return json.loads(body)
    except Exception as error:
        raise Fault("Runtime.UnmarshalError", "Unable to unmarshal input: %s" % error)


def encode(response):
    """The response's bytes and content type."""
    if isinstance(response, bytes):
        return response, "application/unknown"
    try:
        return to_json(response).encode("utf-8"), "application/json"
    except Exception as error:
        raise Fault("Runtime.MarshalError", "Unable to marshal response: %s" % error)


def to_json(value):
    if type(value) not in PLAIN:
        try:
            value = _plain(value)
        except RecursionError:
            # Either a circle or too deep: the encoder tells which.
            pass
    numbers = _Numbers()
    if _json is None:
        import json

        text = json.JSONEncoder(default=numbers.default, ensure_ascii=_ascii).encode(value)
    else:
        make = _json.make_encoder({}, numbers.default, _texts[_ascii], None, ": ", ", ", False, False, True)
        text = "".join(make(value, 0))
    return numbers.restore(text)


def _plain(value):
    """Named tuples and byte keys replaced; what holds neither is returned as it is."""
    if isinstance(value, dict):
        changed = {}
        for key, item in value.items():
            if type(item) not in PLAIN:
                new = _plain(item)
                if new is not item:
                    changed[key] = new
        if changed:
            value = {**value, **changed}
        if any(type(key) is bytes for key in value):
            value = {k.decode("utf-8") if type(k) is bytes else k: v for k, v in value.items()}
    elif isinstance(value, (list, tuple)):
        if isinstance(value, tuple) and callable(getattr(value, "_asdict", None)):
            return _plain(value._asdict())
        items = [item if type(item) in PLAIN else _plain(item) for item in value]
        if any(new is not old for new, old in zip(items, value)):
            return items
    return value


class _Numbers:
    """Decimals on their way through an encoder that knows none.

    Each leaves as a marked string and is put back as its digits afterwards. The mark
    is random, so no text of a function can pass for one.
    """

    def __init__(self):
        self._digits = []
        self._mark = None

    def default(self, value):
        # A value can be a Decimal only if somebody has imported `decimal`.
        decimal = sys.modules.get("decimal")
        if decimal is not None and isinstance(value, decimal.Decimal):
            if value.is_nan():
                return CONSTANTS["NaN"]
            self._mark = self._mark or "lamplight:%s:" % os.urandom(16).hex()
            self._digits.append(str(value))
            return self._mark
        if isinstance(value, bytes):
            return value.decode("utf-8")
        raise TypeError("Object of type %s is not JSON serializable" % type(value).__name__)

    def restore(self, text):
        if not self._digits:
            return text
        pieces = text.split('"%s"' % self._mark)
        return "".join(piece + digits for piece, digits in zip(pieces, self._digits + [""]))
