"""Strange JSON is one `ValueError` of one line."""

import re

import pytest

from schemas.json_text import parse_object


def test_too_much_json_is_refused_unread() -> None:
    with pytest.raises(ValueError, match="it has a length of 3; at most 2 is read"):
        parse_object("{} ", "it", 2)
    assert parse_object(b'{"a": NaN}', "it", 99) == {"a": None}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[1]", "it is not a JSON object"),
        ("{", "it is not JSON: Expecting property name enclosed in double quotes: line 1 column 2 (char 1)"),
        ('{"a":' * 100_000, "it is nested too deep"),
    ],
)
def test_what_is_no_object_is_named(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        parse_object(text, "it", 1 << 20)


def test_a_byte_order_mark_and_nan_are_read() -> None:
    assert parse_object('\ufeff{"a": NaN}', "it", 99) == {"a": None}
    assert parse_object(b'\xef\xbb\xbf{"a": 1}', "it", 99) == {"a": 1}
