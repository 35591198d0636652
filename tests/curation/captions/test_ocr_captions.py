import json
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.captions import ocr as ocr_captions
from curation.captions.lists import has_few, keep_above
from curation.captions.ocr import FAMILY, OcrOptions, preview_captions, render_ocr_captions
from curation.captions.template_file import load_template
from schemas.layouts.blip3_ocr import OcrSegment, blip3_ocr_schema, parse_captions, parse_metadata, parse_segments
from schemas.records.box import Box
from schemas.records.text_line import OCR_COLUMN, TextLine, line_to_arrow

GOLDEN = json.loads((Path(__file__).parents[2] / "golden" / "ocr_captions.json").read_text("utf-8"))
MACK_SHOP = (0.192, 0.037, 0.817, 0.203)
POLYGON = (0.0,) * 8

PIECES = [
    "ocr>",
    "/bbox>",
    "<",
    "</ocr>",
    "<bbox>",
    "</object>",
    "&",
    "amp;",
    "lt;",
    '"',
    "\\",
    "\n",
    "\0",
    ", the text ",
]
TEXTS = st.one_of(st.text(max_size=20), st.lists(st.sampled_from(PIECES), max_size=8).map("".join))
BOXES = st.tuples(*[st.floats(-0.5, 1.5, width=32)] * 4)
LINES = st.lists(st.builds(TextLine, TEXTS, st.just(POLYGON), BOXES, st.floats(0, 1, width=32)), max_size=4)


def line(text: str, box: Box = MACK_SHOP, confidence: float = 0.9) -> TextLine:
    return TextLine(text, POLYGON, box, confidence)


def ocr_array(rows: Sequence[Sequence[TextLine] | None]) -> pa.ListArray:
    return pa.array([None if row is None else [line_to_arrow(each) for each in row] for row in rows], OCR_COLUMN.type)


def strings(*values: str | None) -> pa.StringArray:
    return pa.array(values, pa.string())


def sentences(lines: Sequence[TextLine]) -> list[str]:
    return [caption.text for caption in preview_captions(lines, raw_caption="without")]


def thousandths(box: Box) -> list[int]:
    return [round(min(max(number, 0), 1) * 1000) for number in box]


@pytest.mark.parametrize(
    ("granularity", "segment"),
    [
        (0, '"MACK SHOP"'),
        (1, '"MACK SHOP" located above the center'),
        (
            2,
            '"MACK SHOP" located at 2/17 of the image from top to bottom and 1/2 of the image from left to right',
        ),
        (3, '"MACK SHOP" approximately starts at [0.2, 0.0] and extends up to [0.8, 0.2]'),
        (4, '"MACK SHOP" starts at [0.192, 0.037] and extends up to [0.817, 0.203]'),
        (5, '"<ocr>MACK SHOP</ocr><bbox>[0.192, 0.037][0.817, 0.203]</bbox>"'),
    ],
)
def test_wordings_are_those_of_the_paper(granularity: int, segment: str) -> None:
    once = "The image contains the text " + segment
    assert sentences([line("MACK SHOP")])[granularity] == once
    assert sentences([line("MACK SHOP")] * 3)[granularity] == once + (", the text " + segment) * 2


@pytest.mark.parametrize("example", GOLDEN, ids=lambda example: example["shows"])
def test_golden_captions(example: dict[str, Any]) -> None:
    lines = [line(each["text"], tuple(each["box"]), each["confidence"]) for each in example["lines"]]
    columns = render_ocr_captions(ocr_array([lines]), strings(example["raw_caption"]), strings(example["uid"]))
    assert json.loads(columns.captions[0].as_py()) == example["captions"]
    assert json.loads(columns.metadata[0].as_py()) == example["metadata"]


def test_golden_file_shows_every_granularity_with_and_without_the_raw_caption() -> None:
    kinds = {(item["granularity"], item["include_datacomp_raw_cap"]) for item in GOLDEN[0]["captions"]}
    assert kinds == {(granularity, with_raw) for granularity in range(6) for with_raw in (False, True)}


@pytest.mark.parametrize(
    ("centre", "words"),
    [
        ((0.1, 0.1), "at the top left corner"),
        ((0.5, 0.1), "above the center"),
        ((0.9, 0.1), "at the top right corner"),
        ((0.1, 0.5), "to the left of the center"),
        ((0.5, 0.5), "in the center"),
        ((0.9, 0.5), "to the right of the center"),
        ((0.1, 0.9), "at the bottom left corner"),
        ((0.5, 0.9), "below the center"),
        ((0.9, 0.9), "at the bottom right corner"),
        ((0.333, 0.667), "at the bottom left corner"),
        ((0.334, 0.666), "in the center"),
    ],
)
def test_position_words(centre: tuple[float, float], words: str) -> None:
    assert sentences([line("T", centre * 2)])[1] == f'The image contains the text "T" located {words}'


def test_all_fractions() -> None:
    sums = range(2001)
    lines = [line("T", (0, min(total, 1000) / 1000, 0, max(0, total - 1000) / 1000)) for total in sums]
    segments = parse_segments(sentences(lines)[2], 2)
    assert [each.centre for each in segments] == [
        (Fraction(total, 2000).limit_denominator(20), Fraction(0)) for total in sums
    ]


def test_all_numbers_print_as_python_prints_them() -> None:
    numbers = [number / 1000 for number in range(1001)]
    fine, rough = (sentences([line("T", (number,) * 4) for number in numbers])[granularity] for granularity in (4, 3))
    assert fine.split(", the text ") == [
        ("" if number else "The image contains the text ")
        + f'"T" starts at [{number}, {number}] and extends up to [{number}, {number}]'
        for number in numbers
    ]
    assert [each.box for each in parse_segments(rough, 3)] == [(round(number, 1),) * 4 for number in numbers]


@pytest.mark.parametrize(
    ("raw", "prefix"),
    [
        ("A dog", "A dog. "),
        ("A dog.", "A dog. "),
        ("A dog!", "A dog! "),
        ("A dog?\n ", "A dog? "),
        ("A dog…", "A dog… "),
        ("一只狗。", "一只狗。 "),
        ("a,", "a,. "),
        (' "x" \\', ' "x" \\. '),
        ("", ""),
        (" \u3000\n", ""),
    ],
)
def test_raw_caption_stands_before_the_sentence(raw: str, prefix: str) -> None:
    (caption,) = preview_captions([line("T")], raw, [0], "with")
    assert caption.text == prefix + 'The image contains the text "T"'
    assert caption.include_datacomp_raw_cap


def test_order_is_by_granularity_first_without_then_with() -> None:
    captions = preview_captions([line("T")], "raw", [4, 0, 5])
    assert [(each.granularity, each.include_datacomp_raw_cap) for each in captions] == [
        *((0, False), (4, False), (5, False)),
        *((0, True), (4, True), (5, True)),
    ]


def test_rows_without_lines_and_nulls() -> None:
    columns = render_ocr_captions(
        ocr_array([[], None, [line("T")]]), strings("raw ", None, None), strings("u", None, "v"), [0]
    )
    texts = [[caption.text for caption in parse_captions(row)] for row in columns.captions.to_pylist()]
    assert texts == [["", "raw"], ["", ""], ['The image contains the text "T"'] * 2]
    assert columns.metadata.to_pylist() == [
        '{"entries": [], "length": 0, "uid": "u"}',
        '{"entries": [], "length": 0, "uid": null}',
        '{"entries": [{"text": "T", "bbox": [0.192, 0.037, 0.817, 0.203], "confidence": 0.9}],'
        ' "length": 1, "uid": "v"}',
    ]


def test_no_rows() -> None:
    columns = render_ocr_captions(ocr_array([]), strings(), strings())
    assert (len(columns.captions), len(columns.metadata)) == (0, 0)


def test_slices_chunks_and_windows_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [[line(f"{row} {number}") for number in range(row % 4)] for row in range(50)]
    raws, uids = strings(*map(str, range(50))), strings(*map(str, range(50)))
    whole = render_ocr_captions(ocr_array(rows), raws, uids)
    padded = ocr_array([[line("x")], *rows, [line("x")]])[1:51]
    assert render_ocr_captions(padded, raws, uids) == whole
    chunked = pa.chunked_array([padded[:7], padded[7:]])
    assert render_ocr_captions(chunked, pa.chunked_array([raws]), pa.chunked_array([uids])) == whole
    monkeypatch.setattr(ocr_captions, "SLICE_ROWS", 7)
    monkeypatch.setattr(ocr_captions, "SLICE_BYTES", 20_000)
    assert render_ocr_captions(padded, raws, uids) == whole


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"granularities": [6]}, "granularities"),
        ({"granularities": []}, "granularities"),
        ({"raw_caption": "maybe"}, "maybe"),
        ({"uids": strings("a", "b")}, "unequal lengths"),
        ({"ocr": ocr_array([[line("T", (float("nan"), 0, 0, 0))]])}, "NaN"),
    ],
)
def test_wrong_use_is_said_in_one_line(change: dict[str, Any], message: str) -> None:
    arguments = {"ocr": ocr_array([[line("T")]]), "raw_captions": strings("r"), "uids": strings("u")} | change
    with pytest.raises(ValueError, match=message) as error:
        render_ocr_captions(**arguments)
    assert "\n" not in str(error.value)


def test_confidence_floor() -> None:
    rows = [[line("a", confidence=0.9), line("b", confidence=0.89)], [line("c", confidence=float("nan"))], None, []]
    padded = ocr_array([[line("x")], *rows])[1:]
    kept = keep_above(padded, "confidence", 0.9)
    kept.validate(full=True)
    assert kept.type == OCR_COLUMN.type
    assert [row and [each["text"] for each in row] for row in kept.to_pylist()] == [["a"], [], None, []]
    assert has_few(kept, 1).to_pylist() == [False, True, True, True]
    assert has_few(kept, 0).to_pylist() == [False] * 4


@given(LINES)
@settings(deadline=None)
def test_any_text_is_read_back_from_every_granularity(lines: list[TextLine]) -> None:
    texts = [each.text for each in lines]
    corners = [thousandths(each.box) for each in lines]
    fine = [tuple(number / 1000 for number in box) for box in corners]
    read = [parse_segments(text, granularity) for granularity, text in enumerate(sentences(lines))]
    assert all([segment.text for segment in segments] == texts for segments in read)
    assert [segment.centre for segment in read[2]] == [
        (Fraction(y1 + y2, 2000).limit_denominator(20), Fraction(x1 + x2, 2000).limit_denominator(20))
        for x1, y1, x2, y2 in corners
    ]
    assert [segment.box for segment in read[3]] == [tuple(round(number, 1) for number in box) for box in fine]
    assert read[4] == read[5] == [OcrSegment(text, box=box) for text, box in zip(texts, fine, strict=True)]  # type: ignore[arg-type]


@given(st.lists(st.tuples(LINES, TEXTS, TEXTS | st.none()), max_size=4))
@settings(deadline=None)
def test_any_row_survives_parquet(rows: list[tuple[list[TextLine], str, str | None]]) -> None:
    lines, raws, uids = [row[0] for row in rows], [row[1] for row in rows], [row[2] for row in rows]
    columns = render_ocr_captions(ocr_array(lines), strings(*raws), strings(*uids))
    names = strings(*map(str, range(len(rows))))
    schema = blip3_ocr_schema("r1")
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table([strings(*uids), names, names, names, *columns], schema=schema), sink)
    read = pq.read_table(pa.BufferReader(sink.getvalue()))
    assert read.schema.equals(schema, check_metadata=True)
    for row, expected, raw, uid in zip(read.to_pylist(), lines, raws, uids, strict=True):
        captions, entries = parse_captions(row["captions"]), parse_metadata(row["metadata"])
        assert captions == preview_captions(expected, raw)
        assert row["captions"] == json.dumps(json.loads(row["captions"]), ensure_ascii=False)
        assert json.loads(row["metadata"])["uid"] == uid
        assert [entry.text for entry in entries] == [each.text for each in expected]
        assert [caption.text.startswith(raw.rstrip()) for caption in captions[6:]] == [True] * 6
        again = [line(entry.text, entry.box or MACK_SHOP, entry.confidence or 0.0) for entry in entries]
        assert preview_captions(again, raw) == captions  # every form follows from the printed box


def test_whitespace_is_trimmed_as_python_trims_it() -> None:
    characters = [chr(code) for code in range(0x110000) if not 0xD800 <= code < 0xE000]
    odd = [each for each in characters if each.isspace()] + list(np.random.default_rng(0).choice(characters, 500))
    columns = render_ocr_captions(
        ocr_array([[]] * len(odd)), strings(*("x" + each for each in odd)), strings(*odd), [0], "with"
    )
    assert [parse_captions(row)[0].text for row in columns.captions.to_pylist()] == [("x" + e).rstrip() for e in odd]


def test_the_family_renders_as_its_options_ask() -> None:
    ocr, captions, uids = ocr_array([[line("A")], [line("B"), line("C")]]), strings("one", None), strings("u", "v")
    table = pa.table({"key": ["a", "b"], "ocr": ocr, "caption": captions, "uid": uids})
    for options in (OcrOptions(), OcrOptions(granularities=[3, 1], raw_caption="with")):
        asked = (options.granularities, options.raw_caption)
        assert FAMILY.render(table, options, None) == render_ocr_captions(ocr, captions, uids, *asked)._asdict()
    assert FAMILY.schema("revision", "").equals(blip3_ocr_schema("revision"), check_metadata=True)


def test_slices_are_cut_by_what_a_template_may_write(monkeypatch: pytest.MonkeyPatch) -> None:
    """A line of this template counts as 1,812 bytes: twice 580 and 320 for pixels, and twelve for its text."""
    content = "family: ocr\ngranularities: {0: '{text}" + "a" * 578 + "'}"
    template = load_template(content.encode(), "long", "ocr").template
    monkeypatch.setattr(ocr_captions, "SLICE_BYTES", 10_000)
    columns = render_ocr_captions(
        ocr_array([[line("A")]] * 10), strings(*[""] * 10), strings(*[""] * 10), None, "both", template
    )
    assert [len(chunk) for chunk in columns.captions.chunks] == [5, 5]
