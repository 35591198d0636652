"""Sentences end at their marks, not at abbreviations, numbers or quotations, and what is not dropped stays as it is."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.faithfulness.sentences import drop_sentences, split_sentences


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A dog. A cat!  What? Yes", ["A dog.", "A cat!", "What?", "Yes"]),
        ("Mr. Smith of the U.S. Army met Dr. J. R. Low in St. Louis. He left.", 2),
        ("It costs approx. 3.50 at 5 p.m. on Sunday. Cheap.", 2),
        ("Wait... and see. So...  Then", ["Wait... and see.", "So...", "Then"]),
        ("See e.g. the roof, i.e. the top.", 1),
        ("line one\nline two\n\nline three", ["line one", "line two", "line three"]),
        ("红色的狗。一只猫！", ["红色的狗。", "一只猫！"]),
        ("यह एक कुत्ता है। वह सोता है।", 2),
        ('He says (so.) "Fine." Then', ["He says (so.)", '"Fine."', "Then"]),
        ("", []),
        (" . ", ["."]),
    ],
)
def test_splitting(text: str, expected: list[str] | int) -> None:
    found = [text[start:end] for start, end in split_sentences(text)]
    assert (len(found) if isinstance(expected, int) else found) == expected


def test_no_sentence_ends_within_a_quotation() -> None:
    text = 'It says "Stop. Look. Listen." Then it ends.'
    quote = (text.index('"'), text.rindex('"') + 1)
    assert [text[start:end] for start, end in split_sentences(text, [quote])] == [
        'It says "Stop. Look. Listen."',
        "Then it ends.",
    ]


@pytest.mark.parametrize(
    ("dropped", "expected"),
    [
        ((False, False, False), "One.  Two.\nThree."),
        ((True, False, False), "Two.\nThree."),
        ((False, True, False), "One.\nThree."),
        ((False, False, True), "One.  Two."),
        ((True, True, True), ""),
    ],
)
def test_what_is_not_dropped_stays(dropped: tuple[bool, ...], expected: str) -> None:
    text = "One.  Two.\nThree."
    assert drop_sentences(text, split_sentences(text), dropped) == expected


@given(st.text(alphabet='aB .!?\n。"', max_size=40))
def test_nothing_is_lost(text: str) -> None:
    spans = split_sentences(text)
    assert "".join("".join(text[start:end] for start, end in spans).split()) == "".join(text.split())
    assert drop_sentences(text, spans, [False] * len(spans)) == text.strip()
