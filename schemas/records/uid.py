"""Reads a sample's uid: the name in its data set, by which sets are joined."""

from decimal import Decimal
from uuid import UUID

from schemas.records.training_text import is_number


def to_uid(value: object) -> str | None:
    """Returns a sample's uid as text; None if there is none: a sample without a uid is still kept.

    A whole number becomes its digits, whether it is an int or a float, for example from a pandas column with gaps: 12.0
    and 12 are one uid. Bytes are decoded as UTF-8, or else written as hexadecimal digits. A lone surrogate becomes `?`.
    """
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            return value.hex()
    if isinstance(value, UUID):
        return str(value)
    if not is_number(value):
        return None
    assert isinstance(value, int | float | Decimal)
    return str(int(value)) if value == int(value) else str(value)
