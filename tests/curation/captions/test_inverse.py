"""Captions of templates that can be inverted are read back as what they were rendered from, whatever the texts."""

from collections import Counter
from collections.abc import Iterable

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from curation.captions.atoms import THOUSANDTHS, classify_positions
from curation.captions.fields import TABLES
from curation.captions.grounding import render_grounding_captions
from curation.captions.inverse import ReadItem, read_caption, read_items, read_template
from curation.captions.inversion import NotInvertible, invert
from curation.captions.mentions import find_mentions
from curation.captions.ocr import preview_captions
from curation.captions.template_file import CaptionTemplate, load_template
from schemas.layouts.blip3_grounding import parse_captions
from schemas.records.box import BOXES_COLUMN, Detection, detection_to_arrow
from schemas.records.text_line import TextLine

FIELDS = ["{x1}", "{y2_tenths}", "{position}", "{down}", "{x2_999}", "{y1_3digits}", "{score}"]
LITERALS = [
    " at ",
    " (",
    ")",
    " [",
    "]",
    "<t>",
    "</t>",
    ">",
    '"',
    ", ",
    ": ",
    " ",
    "|",
    "((",
    "\\",
    "&",
    "\n",
    "}}",
    "a",
]
RESTS = st.lists(st.tuples(st.sampled_from(LITERALS), st.sampled_from(["", *FIELDS])), max_size=3)
WRAPS = {
    "ocr": st.tuples(
        st.sampled_from(["", '"', "<t>", "{x1} <t>", "{score}: ", "- ", "<b>(", "{{"]),
        st.sampled_from(['"', "</t>", " (", " [", "<loc_", " at ", "", " | ", ": (", " ((", "\n"]),
    ),
    "grounding": st.sampled_from(
        [
            *[("", closing) for closing in (" (", " [", " | ", ": (", "<loc_", ' "')],
            ("<t>", "</t>"),
            ("<b>({x1}) <t>", "</t>"),
        ]
    ),
}
SEPARATORS = {"ocr": [", ", "", "\n", " and ", "</t>", "(", "0"], "grounding": [", ", "", "\n", " and ", ". "]}
LEADS = {"ocr": ["", "The image contains ", "Seen: ", "<list>"], "grounding": ["The image contains ", "Seen: ", "Z"]}

PIECES = [
    *('"', "\\", "(", ")", "<t>", "</t>", "<", "t>", "/t>", "&", "amp;", "#40;", "&#40;", "lt;", "loc_12>", "<loc_1>"),
    *(" (0.5", "0.5", "in the center", " (in the center)", ", ", " at 0.5", "[", "1", "\n", "The image contains ", "T"),
    *("dog", "dogs", " ", "Seen: ", "|", ": (", "0.5)", "<b>", "a", "[0.5]", "&#91;", "</ocr>", "<object>", "."),
]
TEXTS = st.lists(st.sampled_from(PIECES), max_size=8).map("".join) | st.text(max_size=8)
LINES = st.lists(st.tuples(TEXTS, st.integers(0, 1000)), min_size=1, max_size=3)


@st.composite
def templates(draw: st.DrawFn, family: str, text: str) -> CaptionTemplate:
    """Draws a template that can be inverted, with one granularity."""
    head, closing = draw(WRAPS[family])
    rest = "".join(map("".join, draw(RESTS)))
    values = {
        "lead_in": draw(st.sampled_from(LEADS[family])),
        "separator": draw(st.sampled_from(SEPARATORS[family])),
        "tail": draw(st.sampled_from(["", ".", "]", "\n"])),
    }
    item = head + text + closing + draw(st.sampled_from(FIELDS)) + rest
    content = f"family: {family}\ngranularities: {{1: {quote(item)}}}\n"
    content += "".join(f"{key}: {quote(value)}\n" for key, value in values.items())
    template = load_template(content.encode(), "drawn", family).template
    try:
        invert(template, 1)
    except NotInvertible:
        assume(False)
    return template


def quote(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


def box(number: int) -> tuple[float, float, float, float]:
    return number / 1000, 0.25, 0.75, 0.5


def print_fields(names: Iterable[str], number: int) -> dict[str, str]:
    """Returns what these fields print for `box(number)`."""
    columns = {"x1": number, "y1": 250, "x2": 750, "y2": 500, "score": 900, "down": 750, "across": number + 750}
    columns["position"] = int(classify_positions(np.int32(number + 750), np.int32(750)))  # type: ignore[arg-type]
    return {name: TABLES[name][columns[name.partition("_")[0]]] for name in names}


@given(templates("ocr", "{text}"), LINES)
def test_ocr_captions_are_read_back(template: CaptionTemplate, lines: list[tuple[str, int]]) -> None:
    found = [TextLine(text, (0.0,) * 8, box(number), 0.9) for text, number in lines]
    (caption,) = preview_captions(found, "", None, "without", template)
    items = read_items(template, 1, caption.text)
    assert [item.text for item in items] == [text for text, _ in lines]
    for item, (_, number) in zip(items, lines, strict=True):
        assert item.fields == print_fields(item.fields, number)


@given(templates("grounding", "{label}"), LINES, TEXTS, TEXTS)
def test_grounding_captions_are_read_back(
    template: CaptionTemplate, things: list[tuple[str, int]], raw: str, base: str
) -> None:
    found = [Detection(text, text, box(number), 0.9) for text, number in things]
    boxes = pa.array([list(map(detection_to_arrow, found))], BOXES_COLUMN.type)
    raw, base = raw.rstrip(), base.rstrip()
    columns = render_grounding_captions(boxes, pa.array([raw]), None, pa.array([base]), None, "without", template)
    (caption,) = parse_captions(columns.captions[0].as_py())
    read = read_caption(template, 1, caption.text)
    ended = base if not read.listed or not base or read.caption == base else base + "."
    assert read.caption == ended
    names = [piece.field for piece in template.get_item(1) if piece.field in TABLES]
    printed = Counter(tuple(sorted(item.fields.items())) for item in (*read.mentions, *read.listed))
    assert printed == Counter(tuple(sorted(print_fields(names, number).items())) for _, number in things)
    listed = Counter(item.text for item in read.listed)
    assert listed <= Counter(text for text, _ in things)
    ends = {mention.end for mention in find_mentions(base, [text for text, _ in things])}
    assert {mention.end for mention in read.mentions} <= ends


def test_what_precedes_a_lead_in_is_skipped() -> None:
    content = b"family: ocr\nlead_in: 'Text: '\ngranularities: {1: '<t>{text}</t>{x1}'}"
    template = load_template(content, "own", "ocr").template
    (caption,) = preview_captions(
        [TextLine("A", (0.0,) * 8, box(7), 0.9)], "Text: none. Text: no", None, "with", template
    )
    assert caption.text == "Text: none. Text: no. Text: <t>A</t>0.007"
    assert read_items(template, 1, caption.text) == [ReadItem("A", {"x1": THOUSANDTHS[7]})]
    assert read_items(template, 1, "") == []
    with pytest.raises(ValueError, match=r"^this caption is not of the template: 'Text: <t>A</t>0\.007 and more'$"):
        read_items(template, 1, "Text: <t>A</t>0.007 and more")


def test_a_field_that_comes_again_prints_the_same() -> None:
    template = load_template(b"family: ocr\ngranularities: {1: '<t>{text}</t>{x1}-{x1}'}", "own", "ocr").template
    assert read_items(template, 1, "<t>A</t>0.5-0.5") == [ReadItem("A", {"x1": "0.5"})]
    with pytest.raises(ValueError, match="not of the template"):
        read_items(template, 1, "<t>A</t>0.5-0.6")


def test_captions_that_cannot_be_read_back_are_refused() -> None:
    template = load_template(b"family: ocr\ngranularities: {1: '{text}'}", "own", "ocr").template
    with pytest.raises(NotInvertible, match=r"ends the text$"):
        read_items(template, 1, "A")


def test_the_template_is_read_from_the_metadata_of_a_file() -> None:
    content = b"family: ocr\ngranularities: {1: '{text}'}"
    assert read_template({b"template": content}, "ocr") == load_template(content, "own", "ocr").template
    assert read_template({}, "ocr") is None
