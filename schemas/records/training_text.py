"""Reads text to train on: it is kept exactly as its set stores it or rejected, and never changed silently."""

import codecs
import math
import re
from decimal import Decimal

from schemas.records.quarantine import Reason, Rejected

BOM = "\ufeff"
_BYTE_ORDER_MARKS = {  # UTF-32's little-endian mark begins with that of UTF-16, so it is tried first
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
_SURROGATE = re.compile("[\ud800-\udfff]")


def to_training_text(value: object) -> str | None:
    """Returns the text of a data set's value, without a byte order mark; None if there is none.

    A number becomes its digits; bytes are decoded as UTF-8, or as UTF-16 or UTF-32 after its byte order mark. Null and
    NaN, which pandas writes for null, give None. Raises `Rejected(not_text)` for values that could only be kept
    changed: a list, an object, a boolean, other bytes, a lone surrogate.
    """
    if value is None or (isinstance(value, float | Decimal) and math.isnan(value)):
        return None
    if isinstance(value, bytes):
        value = _decode(value)
    elif is_number(value):
        value = str(value)
    if not isinstance(value, str):
        raise Rejected(Reason.NOT_TEXT, f"a {type(value).__name__}, not a text")
    if not value.isascii() and (found := _SURROGATE.search(value)):
        raise Rejected(Reason.NOT_TEXT, f"{_describe_surrogate(found[0])} at character {found.start()}")
    return value.lstrip(BOM)


def is_number(value: object) -> bool:
    """Returns whether a value is a finite number; booleans are not numbers here."""
    if isinstance(value, int):
        return not isinstance(value, bool)
    return isinstance(value, float | Decimal) and math.isfinite(value)


def _describe_surrogate(character: str) -> str:
    byte = ord(character) - 0xDC00  # as Python's `surrogateescape` marks a byte that is not UTF-8
    is_byte = 0x80 <= byte <= 0xFF
    return f"a byte that is not UTF-8 (0x{byte:02x})" if is_byte else "half of a surrogate pair"


def _decode(data: bytes) -> str:
    encoding = next((name for mark, name in _BYTE_ORDER_MARKS.items() if data.startswith(mark)), "utf-8")
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        raise Rejected(Reason.NOT_TEXT, f"not {encoding.upper()}: {error.reason} at byte {error.start}") from None
