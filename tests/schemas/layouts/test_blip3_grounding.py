import json

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.layouts import blip3_grounding
from schemas.layouts.blip3_grounding import (
    GroundedObject,
    GroundedText,
    GroundingEntry,
    blip3_grounding_schema,
    escape_listed,
    escape_marked,
    parse_captions,
    parse_metadata,
    parse_text,
    strip_markup,
    unescape_marked,
)
from schemas.layouts.blip3_ocr import POSITIONS
from schemas.records.caption import Caption

BOX = (0.015, 0.005, 0.845, 0.993)
PIECES = ["(", "in the center)", "&", "amp;", "#40;", "&#40;", "<object>", "&lt;", "object>", "starts at [0, 1]", " "]


def test_schema_is_fixed_and_says_how_it_is_worded() -> None:
    schema = blip3_grounding_schema("annotations@1", "alt_text")
    assert schema.names == ["uid", "url", "key", "sha256", "cogvlm_caption", "captions", "metadata"]
    assert set(schema.types) == {pa.string()}
    assert schema.metadata == {
        b"template_version": b"1",
        b"wording": b"upto",
        b"coord": b"norm_xyxy_3dp",
        b"source_revision": b"annotations@1",
        b"base_caption": b"alt_text",
    }


@pytest.mark.parametrize(
    ("granularity", "place"),
    [
        (1, "A dog (starts at [0.015, 0.005] and extends upto [0.845, 0.993])"),
        (1, "A dog (starts at [0.015, 0.005] and extends up to [0.845, 0.993])"),
        (1, "A dog (starts at (0.015, 0.005) and extends up to (0.845, 0.993))"),
        (1, "A dog (starts at [0.015,0.005] and extends upto [0.845,  0.993])"),
        (2, "A <object>dog</object><bbox>[0.015, 0.005][0.845, 0.993]</bbox>"),
        (2, "A <object>dog</object> <bbox>[0.015, 0.005] [0.845, 0.993]</bbox>"),
        (2, "A <object>dog</object><bbox>(0.015, 0.005)(0.845, 0.993)</bbox>"),
        (2, "A <object>dog</object><bbox>0.015,0.005,0.845,0.993</bbox>"),
        (2, "A <object>dog</object><bbox> 0.015, 0.005, 0.845, 0.993 </bbox>"),
    ],
)
def test_every_published_spelling_is_read(granularity: int, place: str) -> None:
    mention = GroundedObject("dog" if granularity == 2 else None, 5, box=BOX)
    assert parse_text(f"{place} barks.", granularity) == GroundedText("A dog barks.", [mention], [])
    listed = GroundedObject("dog" if granularity == 2 else "A dog", None, box=BOX)
    item = place.removeprefix("A ") if granularity == 2 else place
    for ending in ("", ".", " ."):
        text = f"{place} barks. The image contains {item}, {item}{ending}"
        assert parse_text(text, granularity) == GroundedText("A dog barks.", [mention], [listed, listed])


@pytest.mark.parametrize("words", POSITIONS)
def test_position_words_are_read(words: str) -> None:
    text = f"A dog ({words}) barks. The image contains cat ({words}), hot dog ({words})"
    expected = [GroundedObject("cat", None, position=words), GroundedObject("hot dog", None, position=words)]
    assert parse_text(text, 0) == GroundedText("A dog barks.", [GroundedObject(None, 5, position=words)], expected)


BODY_POSITIONS = {
    "top-left corner of the image": "at the top left corner",
    "Top-left corner of the image": "at the top left corner",
    "at the top left corner of the image": "at the top left corner",
    "top center of the image": "above the center",
    "top-right corner of the image": "at the top right corner",
    "left side of the image": "to the left of the center",
    "center of the image": "in the center",
    "in the centre of the image": "in the center",
    "right of the image": "to the right of the center",
    "bottom-left corner of the image": "at the bottom left corner",
    "bottom of the image": "below the center",
    "bottom-right corner of the image": "at the bottom right corner",
}


@pytest.mark.parametrize("words", BODY_POSITIONS)
def test_position_words_of_the_papers_body_are_read(words: str) -> None:
    text = f"A dog ({words}) barks. The image contains cat ({words}), hot dog (in the center)"
    position = BODY_POSITIONS[words]
    expected = [
        GroundedObject("cat", None, position=position),
        GroundedObject("hot dog", None, position="in the center"),
    ]
    assert parse_text(text, 0) == GroundedText("A dog barks.", [GroundedObject(None, 5, position=position)], expected)


@pytest.mark.parametrize(
    "box", ["0.015,0.005,0.845,0.993", " 0.015, 0.005, 0.845, 0.993 ", "[0.015, 0.005][0.845, 0.993]"]
)
def test_boxes_of_the_papers_body_are_read(box: str) -> None:
    """Nothing shows how far back the name of a mention goes; in the tail it is all that stands before the bracket."""
    place = f"(<bbox>{box}</bbox>)"
    cat = "<object>cat</object><bbox>[0.015, 0.005][0.845, 0.993]</bbox>"
    text = f"A dog {place} chases a {cat}. The image contains hot (old) dog {place}, {cat}, tree ( {place[1:-1]} )."
    assert parse_text(text, 2) == GroundedText(
        "A dog chases a cat.",
        [GroundedObject(None, 5, box=BOX), GroundedObject("cat", 18, box=BOX)],
        [GroundedObject(name, None, box=BOX) for name in ("hot (old) dog", "cat", "tree")],
    )
    assert parse_text(text, 0).mentions == []


def test_the_papers_figures_are_read() -> None:
    caption = (
        "This image showcases a <object>football player</object><bbox>[0.015, 0.005][0.845, 0.993]</bbox> in action, "
        "wearing a <object>red jersey</object><bbox>[0.205, 0.207][0.638, 0.994]</bbox>"
    )
    assert strip_markup(caption, 2) == "This image showcases a football player in action, wearing a red jersey"
    tail = (
        "The image contains garment (at the bottom right corner), t shirt polo shirt (in the center), neckband collar "
        "(at the top left corner), neckband (to the right of the center), neckband collar (above the center)"
    )
    names = [place.name for place in parse_text(tail, 0).tail]
    assert names == ["garment", "t shirt polo shirt", "neckband collar", "neckband", "neckband collar"]


def test_what_is_no_markup_is_the_caption() -> None:
    for text in (
        "",
        "The image contains a dog",
        "The image contains dog (in the middle), cat",
        "dog(in the center)",
        "<object>dog</object>",
        "<object>a<object>b</object><bbox>[0.1, 0.2]</bbox>",
        "(starts at [0.1, 0.2] and extends to [0.3, 0.4])",
    ):
        assert [parse_text(text, granularity) for granularity in range(3)] == [GroundedText(text, [], [])] * 3
    negative = "A dog (starts at [-0.002, 0.0] and extends upto [1, 1.01])"
    assert parse_text(negative, 1).mentions == [GroundedObject(None, 5, box=(-0.002, 0.0, 1.0, 1.01))]
    with pytest.raises(ValueError, match="granularity 3 is not one of 0 to 2"):
        parse_text("", 3)


@pytest.mark.parametrize(
    "piece", ["<object>", "<object>x</object>", " (in the center", " (starts at [0.1,", "(", ", ", " (<bbox>", "(top"]
)
def test_no_text_takes_quadratic_time(piece: str) -> None:
    text = piece * 100_000
    for granularity in range(3):
        assert strip_markup(f"The image contains {text}", granularity) == f"The image contains {text}"


def test_captions_column() -> None:
    expected = [Caption("a", 0, False), Caption("b'\"\n", 2, True)]
    for column in (
        """[['a', 0, False], ['b\\'"\\n', 2, True]]""",
        """[('a', 0, False), ("b'\\"\\n", 2, True)]""",
        """ [ ["a" , 0 ,False,] ,\n("b\\u0027\\"\\x0a",2, True) , ] """,
        repr([["a", 0, False], ["b'\"\n", 2, True]]),
    ):
        assert parse_captions(column) == expected
    assert parse_captions("[]") == []
    assert parse_captions(r"[['\d', 0, True]]") == [Caption(r"\d", 0, True)]


@pytest.mark.parametrize(
    ("column", "message"),
    [
        ("", r"captions is not a Python list .*: from character 0 on: ''"),
        ("()", "from character 0 on"),
        ("[", "from character 1 on"),
        ("[" * 100_000, "from character 1 on"),
        ("[" + "1," * 100_000 + "]", r"from character 1 on: '1,1,"),
        ("[" + "['', 0, True]," * 65 + "]", "64 at most: from character 897 on"),
        ("[['a', 0, true]]", "from character 1 on"),
        ("[['a', 0]]", "from character 1 on"),
        ("[['a', True, True]]", "from character 1 on"),
        ("[['a', 0, True] ['b', 0, True]]", "from character 1 on"),
        ("[['a' 'b', 0, True]]", "from character 1 on"),
        ("[['a'.upper(), 0, True]]", "from character 1 on"),
        ("[[__import__('os'), 0, True]]", "from character 1 on"),
        ("[['a', 0, True]] # x", "from character 15 on"),
        ("[['''a\n''', 0, True]]", "from character 1 on"),
        ('[{"text": "a", "granularity": 0, "include_datacomp_raw_cap": false}]', "from character 1 on"),
        ("[['a', 007, True]]", "captions is not a Python literal: leading zeros"),
        (r"[['\x', 0, True]]", "captions is not a Python literal: .*truncated"),
        ("[['a', 0, True), ]", "captions is not a Python literal: closing parenthesis"),
        ("[['a', 3, True]]", r"captions\[0\] has the granularity 3, not one of 0 to 2"),
        ("[['a', -1, True]]", r"granularity -1"),
        (r"[['a', 0, True], ['\ud800', 0, True]]", r"captions\[1\] has half of a surrogate pair"),
    ],
)
def test_captions_that_are_none(column: str, message: str) -> None:
    with pytest.raises(ValueError, match=message) as error:
        parse_captions(column)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 300


def test_metadata_column() -> None:
    full = {"category": "dog", "bbox": list(BOX), "confidence": 0.987}
    column = json.dumps({"entries": [full, {"category": "cat"}], "format": "x", "length": 7})
    assert parse_metadata(column) == [GroundingEntry("dog", BOX, 0.987), GroundingEntry("cat", None, None)]


@pytest.mark.parametrize(
    ("column", "message"),
    [
        ("[", "metadata is not JSON"),
        ("[" * 100_000, "metadata is nested too deep"),
        ("[]", "no list named entries"),
        ("{}", "no list named entries"),
        ('{"entries": [[]]}', r"entries\[0\] has no category"),
        ('{"entries": [{"category": "", "bbox": [1, 2, 3]}]}', "four numbers"),
        ('{"entries": [{"category": "", "bbox": [1, 2, 3, "4"]}]}', "four numbers"),
        ('{"entries": [{"category": "", "confidence": true}]}', "not a number"),
    ],
)
def test_metadata_that_is_none(column: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_metadata(column)


def test_sizes_are_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blip3_grounding, "MAX_CHARACTERS", 40)
    for read, text in (
        (parse_captions, "[]".ljust(40)),
        (parse_metadata, '{"entries": [], "length": 0}'.ljust(40)),
        (lambda text: parse_text(text, 0), "nothing".ljust(40, "!")),
    ):
        read(text)
        with pytest.raises(ValueError, match="41 characters; at most 40 are read"):
            read(f"{text} ")


@pytest.mark.parametrize(
    ("granularity", "text", "escaped"),
    [
        (0, "R&D (x) &#40; (in the centre) (above)", "R&D (x) &#40; (in the centre) (above)"),
        (0, "dog (in the center)", "dog &#40;in the center)"),
        (0, "dog &#40;in the center)", "dog &amp;#40;in the center)"),
        (0, "dog &amp;amp;#40;in the center)", "dog &amp;amp;amp;#40;in the center)"),
        (0, "dog (top-left corner of the image)", "dog &#40;top-left corner of the image)"),
        (1, "(in the center)", "(in the center)"),
        (1, "(starts at [0.1, 0.2] and extends upto [0, 1])", "&#40;starts at [0.1, 0.2] and extends upto [0, 1])"),
        (2, "dog (<bbox>0,0,1,1</bbox>)", "dog (&lt;bbox>0,0,1,1&lt;/bbox>)"),
        (2, "(in the center) <b> </object>", "(in the center) <b> &lt;/object>"),
        (2, "a </object>", "a &lt;/object>"),
        (2, "a &lt;/object>", "a &amp;lt;/object>"),
    ],
)
def test_only_look_alikes_are_escaped(granularity: int, text: str, escaped: str) -> None:
    assert escape_marked(text, granularity) == escaped
    assert unescape_marked(escaped, granularity) == text
    assert strip_markup(escaped, granularity) == text


@given(st.lists(st.sampled_from(PIECES), max_size=12).map("".join) | st.text(), st.sampled_from(range(3)))
def test_escapes_are_undone(text: str, granularity: int) -> None:
    escaped = escape_marked(text, granularity)
    assert unescape_marked(escaped, granularity) == text
    assert strip_markup(escaped, granularity) == text
    listed = escape_listed(text, granularity)
    place = (
        f"{listed} (in the center)",
        f"{listed} (starts at [0.1, 0.2] and extends upto [0.3, 0.4])",
        f"<object>{listed}</object><bbox>[0.1, 0.2][0.3, 0.4]</bbox>",
    )[granularity]
    assert [each.name for each in parse_text(f"The image contains {place}, {place}", granularity).tail] == [text] * 2
    assert "The image contains " not in listed
