"""What becomes text that is trained on, and what is refused rather than changed."""

import json
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.records.quarantine import Rejected
from schemas.records.training_text import to_training_text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, None),
        (float("nan"), None),
        ("", ""),
        (" a\n", " a\n"),
        ("\ufeffa \ufeff b", "a \ufeff b"),
        ("\ufeff\ufeff", ""),
        ("\ud83d\ude00".encode("utf-16", "surrogatepass").decode("utf-16"), "😀"),
        (json.loads('"\\ud83d\\ude00"'), "😀"),
        ("caf\ufffd", "caf\ufffd"),  # as its set has it
        ("a\0b", "a\0b"),
        (7, "7"),
        (0, "0"),
        (2.5, "2.5"),
        (10**400, f"{10**400}"),
        (Decimal("1.50"), "1.50"),
        ("Bär".encode(), "Bär"),
        (b"\xef\xbb\xbfa", "a"),
        ("Bär".encode("utf-16"), "Bär"),
        (b"\xfe\xff\0a", "a"),
        ("Bär 😀".encode("utf-32"), "Bär 😀"),
        (b"\0\0\xfe\xff\0\0\0a", "a"),
    ],
)
def test_text_is_kept_as_it_is(value: object, text: str | None) -> None:
    assert to_training_text(value) == text


@pytest.mark.parametrize(
    ("value", "fault"),
    [
        (True, "a bool, not a text"),
        ([], "a list, not a text"),
        (["a"], "a list, not a text"),
        ({"en": "a"}, "a dict, not a text"),
        (float("inf"), "a float, not a text"),
        ("x\ud83d", "half of a surrogate pair at character 1"),
        (b"caf\xe9".decode("utf-8", "surrogateescape"), "a byte that is not UTF-8 (0xe9) at character 3"),
        ("\udc80", "a byte that is not UTF-8 (0x80) at character 0"),
        ("\udcff", "a byte that is not UTF-8 (0xff) at character 0"),
        ("\udc7f", "half of a surrogate pair at character 0"),
        ("\udd00x", "half of a surrogate pair at character 0"),
        ("\ude00\ud83d", "half of a surrogate pair at character 0"),
        (b"caf\xe9", "not UTF-8: unexpected end of data at byte 3"),
        (b"\xed\xa0\xbd\xed\xb8\x80", "not UTF-8: invalid continuation byte at byte 0"),
        (b"\xff\xfea", "not UTF-16: truncated data at byte 2"),
        (b"\xff\xfe\0\0a\0", "not UTF-32: truncated data at byte 4"),
    ],
)
def test_what_would_have_to_be_changed_is_refused(value: object, fault: str) -> None:
    with pytest.raises(Rejected) as caught:
        to_training_text(value)
    assert str(caught.value) == f"not_text: {fault}"


@given(st.text())
def test_any_text_comes_through_in_any_form(text: str) -> None:
    kept = text.lstrip("\ufeff")
    assert to_training_text(text) == to_training_text(json.loads(json.dumps(text))) == kept
    assert to_training_text(b"\xef\xbb\xbf" + text.encode()) == kept
