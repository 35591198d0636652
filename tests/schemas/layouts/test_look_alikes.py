import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.layouts.look_alikes import LookAlike

PLACE = LookAlike("(", r"here\)")
PIECES = st.sampled_from(["(", "here)", "(here)", "&#40;", "&", "amp;", "#40;", "a ", "&amp;"])


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("dog (here)", "dog &#40;here)"),
        ("dog (there)", "dog (there)"),
        ("&#40;here)", "&amp;#40;here)"),
        ("&amp;#40;here)", "&amp;amp;#40;here)"),
        ("&#40;there)", "&#40;there)"),
        ("(here)(here)", "&#40;here)&#40;here)"),
    ],
)
def test_only_the_first_character_of_a_look_alike_changes(text: str, escaped: str) -> None:
    assert PLACE.escape(text) == escaped
    assert PLACE.unescape(escaped) == text


def test_angle_brackets_have_their_own_entity() -> None:
    assert LookAlike("<", "b>").escape("<b> <i> &lt;b>") == "&lt;b> <i> &amp;lt;b>"


def test_look_alikes_that_were_not_escaped_are_kept() -> None:
    assert PLACE.unescape("a dog (here)") == "a dog (here)"


@given(st.lists(PIECES, max_size=10).map("".join))
def test_reading_gets_every_text_back(text: str) -> None:
    assert PLACE.unescape(PLACE.escape(text)) == text
