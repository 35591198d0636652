import json
import re
from fractions import Fraction

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.layouts import blip3_ocr
from schemas.layouts.blip3_ocr import (
    OcrEntry,
    OcrSegment,
    blip3_ocr_schema,
    escape_quoted,
    escape_tagged,
    parse_captions,
    parse_metadata,
    parse_segments,
    unescape_quoted,
    unescape_tagged,
)
from schemas.records.caption import Caption

BOX = (0.192, 0.037, 0.817, 0.203)
TAG_PIECES = ["ocr>", "/bbox>", "<", "</ocr>", "</object>", "&", "amp;", "lt;", "&lt;", "x"]


def test_schema_is_fixed_and_says_how_it_is_worded() -> None:
    schema = blip3_ocr_schema("annotations@1")
    assert schema.names == ["uid", "url", "key", "sha256", "captions", "metadata"]
    assert set(schema.types) == {pa.string()}
    assert schema.metadata == {
        b"template_version": b"1",
        b"wording": b"up to",
        b"coord": b"norm_xyxy_3dp",
        b"source_revision": b"annotations@1",
    }


@pytest.mark.parametrize(
    ("granularity", "text"),
    [
        (4, '"NY" starts at [0.192, 0.037] and extends up to [0.817, 0.203]'),
        (4, '"NY" starts at [0.192, 0.037] and extends upto [0.817, 0.203]'),
        (4, '"NY" starts at (0.192, 0.037) and extends up to (0.817, 0.203)'),
        (4, '"NY" (starts at [0.192,0.037] and extends upto [0.817,0.203])'),
        (4, "“NY” starts at [0.192, 0.037] and extends up to [0.817, 0.203]"),
        (3, '"NY" approximately starts at [0.192, 0.037] and extends upto [0.817, 0.203]'),
        (5, '"<ocr>NY</ocr><bbox>[0.192, 0.037][0.817, 0.203]</bbox>"'),
        (5, "<ocr>NY</ocr><bbox>[0.192, 0.037][0.817, 0.203]</bbox>"),
        (5, "“<ocr>NY</ocr><bbox>(0.192, 0.037)(0.817, 0.203)</bbox>”"),
        (5, "<ocr>NY</ocr><bbox>0.192,0.037,0.817,0.203</bbox>"),
        (5, "<ocr>NY</ocr><bbox> 0.192, 0.037, 0.817, 0.203 </bbox>"),
        (5, "NY (<bbox> 0.192, 0.037, 0.817, 0.203 </bbox>)"),
        (5, "NY (<bbox>0.192,0.037,0.817,0.203</bbox>)"),
        (5, "NY ( <bbox>[0.192, 0.037][0.817, 0.203]</bbox> )"),
        (5, '"NY" (<bbox> 0.192, 0.037, 0.817, 0.203 </bbox>)'),
        (5, "“NY” (<bbox> 0.192, 0.037, 0.817, 0.203 </bbox>)"),
    ],
)
def test_every_published_spelling_is_read(granularity: int, text: str) -> None:
    segment = OcrSegment("NY", box=BOX)
    assert parse_segments(text, granularity) == [segment]
    for start in (
        "The image contains the text ",
        "The image contains ",
        "the text ",
        "A dog. The image contains the text ",
    ):
        assert parse_segments(start + text, granularity) == [segment]
        assert parse_segments(f"{start}{text}, the text {text}, {text}.", granularity) == [segment] * 3


def test_each_granularity_fills_its_own_field() -> None:
    assert parse_segments("“NY”, “PORK&GRILL”", 0) == [OcrSegment("NY"), OcrSegment("PORK&GRILL")]
    assert parse_segments('"NY" located below the center', 1) == [OcrSegment("NY", position="below the center")]
    shares = '"NY" located at 2/17 of the image from top to bottom and 0 of the image from left to right'
    assert parse_segments(shares, 2) == [OcrSegment("NY", centre=(Fraction(2, 17), Fraction(0)))]
    negative = '"NY" starts at [-0.002, 0.0] and extends up to [1, 1.01]'
    assert parse_segments(negative, 4) == [OcrSegment("NY", box=(-0.002, 0.0, 1.0, 1.01))]
    assert parse_segments("", 3) == []


@pytest.mark.parametrize(
    ("words", "position"),
    [
        ("top-left corner of the image", "at the top left corner"),
        ("Bottom right corner of the image", "at the bottom right corner"),
        ("top of the image", "above the center"),
        ("center of the image", "in the center"),
        ("on the left side of the image", "to the left of the center"),
        ("below the center", "below the center"),
    ],
)
def test_positions_of_the_papers_body_are_read(words: str, position: str) -> None:
    expected = [OcrSegment("NY", position=position), OcrSegment("A, (b)", position="in the center")]
    for text in (f"NY ({words}), A, (b) (in the center)", f'"NY" ({words}), the text "A, (b)" (in the center).'):
        for start in ("", "the text ", "A dog (old). The image contains the text "):
            assert parse_segments(start + text, 1) == expected


def test_brackets_of_the_papers_body_end_a_text_that_has_no_quotes() -> None:
    text = "Fish, (fresh) <b> (<bbox>0,0,1,1</bbox>), <ocr>x</ocr><bbox>[0, 0][1, 1]</bbox>, y (<bbox>0,0,1,1</bbox>)"
    assert [segment.text for segment in parse_segments(text, 5)] == ["Fish, (fresh) <b>", "x", "y"]
    for bad in ("NY (<bbox>0,0,1</bbox>)", "(<bbox>0,0,1,1</bbox>)", '"NY (<bbox>0,0,1,1</bbox>)'):
        with pytest.raises(ValueError, match="granularity 5 caption can't be read from character 0 on"):
            parse_segments(bad, 5)


@pytest.mark.parametrize("piece", ["(", "(top", "(<bbox>", "T", "The image contains ", "a (<bbox>0,0,0,0</bbox>), "])
def test_no_text_takes_quadratic_time(piece: str) -> None:
    for granularity in (1, 5):
        with pytest.raises(ValueError, match="can't be read"):
            parse_segments(piece * 30_000 + "x", granularity)


def test_a_raw_caption_may_hold_quotes_and_lead_ins() -> None:
    raw = 'The image contains "x" 5" pipes. '
    assert parse_segments(raw + 'The image contains the text "NY", the text "B"', 0) == [
        OcrSegment("NY"),
        OcrSegment("B"),
    ]


def test_backslashes_of_others_stay() -> None:
    assert parse_segments(r'"C:\new"', 0) == [OcrSegment(r"C:\new")]


@pytest.mark.parametrize(
    ("text", "granularity", "message"),
    [
        ("A dog", 0, "granularity 0 caption can't be read from character 0 on: 'A dog'"),
        ('The image contains the text "NY", the text NO', 0, "from character 43 on: 'NO'"),
        ('"NY" located in the middle', 1, "from character 0 on"),
        ('"NY" located at 1/0 of the image from top to bottom and 1 of the image from left to right', 2, "character 0"),
        ('"NY" starts at [0.1, 0.2]', 4, "character 0"),
        ("<ocr>NY</ocr><bbox>0.1,0.2,0.3</bbox>", 5, "character 0"),
        ('"NY",', 0, "from character 5 on: ''"),
        ('"a\n', 0, r"'" + '"a' + r"\n'"),
        ('"NY"', 6, "granularity 6 is not one of 0 to 5"),
    ],
)
def test_a_text_that_cannot_be_read(text: str, granularity: int, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)) as error:
        parse_segments(text, granularity)
    assert "\n" not in str(error.value)


def test_captions_column() -> None:
    item = {"text": "a", "granularity": 5, "include_datacomp_raw_cap": True, "other": 1}
    assert parse_captions(json.dumps([item])) == [Caption("a", 5, True)]
    assert parse_captions("[]") == []


@pytest.mark.parametrize(
    ("column", "message"),
    [
        ("[", "captions is not JSON: Expecting value"),
        ("{}", "captions holds a dict, not a list"),
        ("[" * 100_000, "captions is nested too deep"),
        ("[" + "9" * 5000 + "]", "captions is not JSON"),
        ("[1]", r"captions\[0\] has no text"),
        ('[{"text": null}]', r"captions\[0\] has no text"),
        ('[{"text": "\\ud800"}]', "surrogate"),
        ('[{"text": ""}]', "granularity None, not one of 0 to 5"),
        ('[{"text": "", "granularity": true}]', "granularity True"),
        ('[{"text": "", "granularity": 6}]', "granularity 6"),
        ('[{"text": "", "granularity": 0, "include_datacomp_raw_cap": 1}]', "include_datacomp_raw_cap 1"),
        ("[['a', 0, True]]", "not JSON"),
    ],
)
def test_captions_that_are_none(column: str, message: str) -> None:
    with pytest.raises(ValueError, match=message) as error:
        parse_captions(column)
    assert "\n" not in str(error.value)


def test_metadata_column() -> None:
    full = {"text": "NY", "bbox": list(BOX), "confidence": 0.987}
    column = json.dumps({"entries": [full, {"text": "B"}], "length": 7, "uid": "u"})
    assert parse_metadata(column) == [OcrEntry("NY", BOX, 0.987), OcrEntry("B", None, None)]


@pytest.mark.parametrize(
    ("column", "message"),
    [
        ("[]", "metadata holds a list, not a dict"),
        ("{}", "no list named entries"),
        ('{"entries": [[]]}', r"entries\[0\] has no text"),
        ('{"entries": [{"text": "", "bbox": [1, 2, 3]}]}', "four numbers"),
        ('{"entries": [{"text": "", "bbox": [1, 2, 3, "4"]}]}', "four numbers"),
        ('{"entries": [{"text": "", "confidence": true}]}', "not a number"),
    ],
)
def test_metadata_that_is_none(column: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_metadata(column)


def test_sizes_are_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blip3_ocr, "MAX_CHARACTERS", 40)
    for read, text in (
        (parse_captions, "[]".ljust(40)),
        (parse_metadata, '{"entries": [], "length": 0}'.ljust(40)),
        (lambda text: parse_segments(text, 0), f'The image contains the text "{"A" * 10}"'),
    ):
        read(text)
        with pytest.raises(ValueError, match="41 characters; at most 40 are read"):
            read(f"{text} ")


@pytest.mark.parametrize(
    ("text", "tagged"),
    [
        ("PORK&GRILL <b> a<b &amp; &lt;", "PORK&GRILL <b> a<b &amp; &lt;"),
        ("</ocr>", "&lt;/ocr>"),
        ("<<bbox>", "<&lt;bbox>"),
        ("&lt;ocr>", "&amp;lt;ocr>"),
        ("&amp;amp;lt;/object>", "&amp;amp;amp;lt;/object>"),
        ("&&lt;ocr>", "&&amp;lt;ocr>"),
    ],
)
def test_only_tag_look_alikes_are_escaped(text: str, tagged: str) -> None:
    assert escape_tagged(text) == tagged
    assert unescape_tagged(tagged) == text


@given(st.lists(st.sampled_from([*TAG_PIECES, '"', "\\"]), max_size=12).map("".join) | st.text())
def test_escapes_are_undone(text: str) -> None:
    assert unescape_tagged(escape_tagged(text)) == text
    assert unescape_quoted(escape_quoted(text)) == text
    assert "</ocr>" not in escape_tagged(text)


@pytest.mark.parametrize("number", [10**400, -(10**400)])
def test_a_whole_number_that_no_float_holds(number: int) -> None:
    for entry in ({"bbox": [0, 0, 1, number], "confidence": 1}, {"bbox": [0, 0, 1, 1], "confidence": number}):
        with pytest.raises(
            ValueError, match=r"^metadata entries\[0\] has a (bbox that is not four numbers|confidence)"
        ):
            parse_metadata(json.dumps({"entries": [{"text": "a"} | entry]}))
    assert parse_metadata(json.dumps({"entries": [{"text": "a", "bbox": [0, 0, 1, 2**63], "confidence": 1}]}))
