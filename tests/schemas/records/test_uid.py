"""Names of samples as text, whatever a set and pandas have made of them."""

from decimal import Decimal
from uuid import UUID

import pytest

from schemas.records.uid import to_uid


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("335db346", "335db346"),
        ("", ""),
        ("\ud800a", "?a"),
        (12, "12"),
        (0, "0"),
        (-3, "-3"),
        (12.0, "12"),
        (1e15, "1000000000000000"),
        (2**63, "9223372036854775808"),
        (1.5, "1.5"),
        (Decimal("12.00"), "12"),
        (b"abc", "abc"),
        (b"\xff\x01", "ff01"),
        (UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (None, None),
        (float("nan"), None),
        (float("inf"), None),
        (True, None),
        ([1], None),
        ({"$oid": "a"}, None),
    ],
)
def test_a_name_is_text_or_none(value: object, text: str | None) -> None:
    assert to_uid(value) == text
