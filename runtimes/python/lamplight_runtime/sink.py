"""Where messages of the log go: one event each, whatever lines they have.

Where _LAMBDA_TELEMETRY_LOG_FD is given, messages go there as frames: four bytes of type
and level, four of length, eight of microseconds since the epoch, then the message.
Elsewhere they are lines of stdout. Invariant: functions do not see the variable.
"""

import os
import sys
import time

FRAMED = False
_fd = None
_type = 0
# By the tens of Python's levels; AWS: the bits of debug, info, warning, error and fatal.
_LEVELS = (0, 0x08, 0x0C, 0x10, 0x14, 0x18)


def set_up(environ):
    global FRAMED, _fd, _type
    number = environ.pop("_LAMBDA_TELEMETRY_LOG_FD", "")
    FRAMED = number.isdigit()
    _fd = int(number) if FRAMED else None
    _type = 0xA55A0002 if environ.get("AWS_LAMBDA_LOG_FORMAT", "").upper() == "JSON" else 0xA55A0003


def write(text, level=0):
    """`level` is one of the numbers of `logging`, 0 where there is none."""
    if not FRAMED:
        text = text.encode("utf-8", "backslashreplace").decode("utf-8")
        sys.stdout.write(text if text.endswith("\n") else text + "\n")
        return
    message = text.encode("utf-8", "backslashreplace")
    kind = _type | _LEVELS[min(5, max(0, level // 10))]
    stamp = time.time_ns() // 1000
    head = kind.to_bytes(4, "big") + len(message).to_bytes(4, "big") + stamp.to_bytes(8, "big")
    left = memoryview(head + message)
    while left:
        left = left[os.write(_fd, left) :]
