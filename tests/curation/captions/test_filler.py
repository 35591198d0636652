from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.captions.filler import strip_filler
from curation.captions.ocr import preview_captions
from schemas.layouts.blip3_ocr import parse_segments
from schemas.records.text_line import TextLine

PIECES = ["the text ", "The image contains ", '"', "\\", ", ", "<ocr>", "now", "\n", "“", "”", ". ", "NY", "</ocr>"]
TEXTS = st.lists(st.sampled_from(PIECES), max_size=6).map("".join) | st.text(max_size=10)


def lines(texts: Sequence[str]) -> list[TextLine]:
    return [TextLine(text, (0.0,) * 8, (0.192, 0.037, 0.817, 0.203), 0.9) for text in texts]


@pytest.mark.parametrize(
    ("text", "stripped"),
    [
        ('The image contains the text "NY", the text "BURGER"', '"NY", "BURGER"'),
        ('the text "NY", the text "BURGER".', '"NY", "BURGER".'),
        ("The image contains the text “NY”, the text “PORK&GRILL”", "“NY”, “PORK&GRILL”"),
        ("“NY”, “BURGER”", "“NY”, “BURGER”"),
        ('The image contains the text "NY" located in the center', '"NY" located in the center'),
        ('The text "a" starts at [0.1, 0.2] and extends upto [0.3, 0.4], The text "b" starts at [0.1, 0.2] and extends '
         'upto [0.3, 0.4]',
         '"a" starts at [0.1, 0.2] and extends upto [0.3, 0.4], "b" starts at [0.1, 0.2] and extends upto [0.3, 0.4]'),
        ("the text <ocr>a</ocr><bbox>0.1,0.2,0.3,0.4</bbox>, the text <ocr>b</ocr><bbox>0.1,0.2,0.3,0.4</bbox>",
         "<ocr>a</ocr><bbox>0.1,0.2,0.3,0.4</bbox>, <ocr>b</ocr><bbox>0.1,0.2,0.3,0.4</bbox>"),
        ('A sign: read the text "now". The image contains the text "NY", the text "B"',
         'A sign: read the text "now". "NY", "B"'),
        ("", ""),
        ("The image contains nothing", "The image contains nothing"),
        ('He wrote the text "x" on it', 'He wrote the text "x" on it'),
    ],
)  # fmt: skip
def test_filler_goes_and_the_rest_stays(text: str, stripped: str) -> None:
    assert strip_filler(text) == stripped
    assert strip_filler(stripped) == stripped


def test_text_in_the_image_stays() -> None:
    says = ['read the text "now"', "The image contains the text ", ', the text "', "the text"]
    for caption in preview_captions(lines(says), raw_caption="without"):
        stripped = strip_filler(caption.text)
        assert [segment.text for segment in parse_segments(stripped, caption.granularity)] == says
        assert len(stripped) == len(caption.text) - len("The image contains ") - 4 * len("the text ")


def test_raw_caption_stays() -> None:
    raw = 'The image contains the text "SALE", the text 5" '
    for caption in preview_captions(lines(["NY", "the text"]), raw, raw_caption="with"):
        stripped = strip_filler(caption.text, raw)
        assert stripped.startswith(raw.rstrip() + '. "')
        assert len(stripped) == len(caption.text) - len("The image contains ") - 2 * len("the text ")


def test_a_raw_caption_that_is_not_there_changes_nothing() -> None:
    assert strip_filler('The image contains the text "NY"', "A dog") == '"NY"'
    assert strip_filler('The image contains the text "NY"', "The") == '"NY"'


def test_quotes_that_nobody_escaped() -> None:
    text = 'The image contains the text "5" pipe", the text "B" located in the center, the text "C"'
    assert strip_filler(text) == '"5" pipe", "B" located in the center, "C"'


@given(st.lists(TEXTS, min_size=1, max_size=4), TEXTS)
@settings(deadline=None)
def test_only_filler_goes(texts: list[str], raw: str) -> None:
    for caption in preview_captions(lines(texts), raw):
        body = 'The image contains the text "'
        given_raw = raw if caption.include_datacomp_raw_cap else ""
        before = caption.text[
            : len(caption.text) - len(preview_captions(lines(texts), "", [caption.granularity], "with")[0].text)
        ]
        stripped = strip_filler(caption.text, given_raw)
        assert stripped.startswith(before + '"')
        assert caption.text.startswith(before + body)
        after = parse_segments(stripped[len(before) :], caption.granularity)
        assert after == parse_segments(caption.text[len(before) :], caption.granularity)
        assert len(caption.text) - len(stripped) == len("The image contains ") + len(texts) * len("the text ")
