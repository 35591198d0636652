"""Text that a trainer learns, kept as its set has it or not at all: nothing in it may change without a word."""

import codecs
import math
import re
from decimal import Decimal

from schemas.records.quarantine import Reason, Rejected

_BOM = "\ufeff"
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_SURROGATE = re.compile("[\ud800-\udfff]")


def training_text(value: object) -> str | None:
    """Returns the text that a value of a data set stands for, without a byte order mark; None where there is none.

    A number is its digits, and bytes are UTF-8, or UTF-16 behind its byte order mark. Null and NaN, which pandas writes
    for null, are none. Raises `Rejected(not_text)` for what could only be kept changed: a list, an object, a truth
    value, other bytes, half of a surrogate pair.
    """
    if value is None or (isinstance(value, float | Decimal) and math.isnan(value)):
        return None
    if isinstance(value, bytes):
        value = _decoded(value)
    elif is_number(value):
        value = str(value)
    if not isinstance(value, str):
        raise Rejected(Reason.NOT_TEXT, f"a {type(value).__name__}, not a text")
    if not value.isascii() and (found := _SURROGATE.search(value)):
        raise Rejected(Reason.NOT_TEXT, f"half of a surrogate pair at character {found.start()}")
    return value.lstrip(_BOM)


def is_number(value: object) -> bool:
    """Says whether a value is a finite number, which a truth value is not."""
    if isinstance(value, int):
        return not isinstance(value, bool)
    return isinstance(value, float | Decimal) and math.isfinite(value)


def _decoded(data: bytes) -> str:
    try:
        return data.decode("utf-16" if data.startswith(_UTF16) else "utf-8")
    except UnicodeDecodeError as error:
        raise Rejected(Reason.NOT_TEXT, f"not UTF-8: {error.reason} at byte {error.start}") from None
