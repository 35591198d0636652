"""The name that a data set has for a sample, by which sets are joined."""

from decimal import Decimal
from uuid import UUID

from schemas.records.training_text import is_number


def uid_text(value: object) -> str | None:
    """Returns a sample's name as text; None where there is none, for a missing name costs no sample.

    A whole number is its digits, whether it is an int or, as pandas leaves a column with gaps, a float: 12.0 and 12 are
    one name. Bytes are UTF-8, else their hexadecimal digits. Half of a surrogate pair becomes `?`.
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
