"""Decides how long a client waits before it asks a server again."""

import datetime
import random
from collections.abc import Mapping
from email.utils import parsedate_to_datetime

FIRST_SECONDS, MAX_SECONDS = 0.5, 30.0
RETRIED_STATUSES = frozenset({408, 409, 425, 429})
"""The HTTP statuses that may pass, beside those from 500 on."""


def may_pass(status: int) -> bool:
    """Returns whether a request that failed by this HTTP status may succeed later."""
    return status in RETRIED_STATUSES or status >= 500


def compute_delay(tries: int, headers: Mapping[str, str]) -> float:
    """Returns the seconds to wait after this many tries: exponential with jitter, and no less than the server asks for.

    `headers` are those of the last response, if there was one.
    """
    backoff = min(MAX_SECONDS, FIRST_SECONDS * 2.0 ** min(tries - 1, 16))
    return max(read_retry_after(headers), random.uniform(backoff / 2, backoff))


def read_retry_after(headers: Mapping[str, str]) -> float:
    """Returns the seconds in `Retry-After`, as a number or a date; 0 without a valid one."""
    value = headers.get("retry-after", "")
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        return max(0.0, (parsedate_to_datetime(value) - datetime.datetime.now(datetime.UTC)).total_seconds())
    except (ValueError, TypeError):  # TypeError: a date without a zone
        return 0.0
