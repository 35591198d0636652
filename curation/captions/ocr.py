"""Renders OCR captions in six granularities, a column at a time.

A caption is a pure function of (annotation, template). The templates are compiled (`curation.captions.templates`), so
that no Python code runs for each row.
"""

import json
from collections.abc import Collection, Iterator, Sequence
from fractions import Fraction
from itertools import pairwise
from typing import Annotated, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pydantic import Field, PositiveInt

from curation.captions.atoms import (
    SENTENCE_MARKS,
    THOUSANDTHS,
    Index,
    RawCaption,
    classify_positions,
    escape_json,
    get_raw_flags,
    to_thousandths,
)
from curation.captions.family import CaptionFamily, CaptionOptions, Columns, ItemThreshold
from curation.captions.lists import combine_chunks, compute_offsets
from curation.captions.templates import compile_template, render_template
from schemas.layouts.blip3_ocr import (
    FILLER,
    GRANULARITIES,
    LEAD_IN,
    POSITIONS,
    blip3_ocr_schema,
    escape_quoted,
    escape_tagged,
    parse_captions,
)
from schemas.records.caption import Caption
from schemas.records.quarantine import Reason
from schemas.records.text_line import OCR_COLUMN, TextLine, line_to_arrow

WORDINGS = (
    '"{text}"',
    '"{text}" located {position}',
    '"{text}" located at {down} of the image from top to bottom and {across} of the image from left to right',
    '"{text}" approximately starts at [{x1_tenths}, {y1_tenths}] and extends up to [{x2_tenths}, {y2_tenths}]',
    '"{text}" starts at [{x1}, {y1}] and extends up to [{x2}, {y2}]',
    '"<ocr>{text}</ocr><bbox>[{x1}, {y1}][{x2}, {y2}]</bbox>"',
)
"""Each granularity's wording for one line of text (BLIP-3, arXiv 2408.08872v4, Figure 4). The text comes first."""

_ENTRY = '{{"text": "{text}", "bbox": [{x1}, {y1}, {x2}, {y2}], "confidence": {confidence}}}'

_TENTHS = [repr(round(number / 1000, 1)) for number in range(1001)]
_SHARES = [str(Fraction(total, 2000).limit_denominator(20)) for total in range(2001)]  # 20: the limit in the reference
_TABLES = {
    "position": list(POSITIONS),
    "down": _SHARES,
    "across": _SHARES,
    "confidence": THOUSANDTHS,
    **dict.fromkeys(("x1", "y1", "x2", "y2"), THOUSANDTHS),
    **{f"{corner}_tenths": _TENTHS for corner in ("x1", "y1", "x2", "y2")},
}

_RARE = r'[\x00-\x1f"\\]|<[/ob]|&[al]'  # a text with none of these needs no escaping in JSON, quotes and tags
_SENTENCE_END = rf"[{SENTENCE_MARKS}]\z"
SLICE_ROWS = 4096  # rows rendered at once, few enough to stay in a core's cache
SLICE_BYTES = 1 << 28  # rendered at once, well below the 2 GiB that one Arrow string array can hold


class OcrColumns(NamedTuple):
    """Holds the JSON columns of the published layout: strings without nulls, one row for each image."""

    captions: pa.ChunkedArray
    metadata: pa.ChunkedArray


_SENTENCES = [compile_template(wording, _TABLES, LEAD_IN + FILLER, ", " + FILLER) for wording in WORDINGS]
_ENTRIES = compile_template(_ENTRY, _TABLES, "", ", ", is_json=True)


def render_ocr_captions(
    ocr: pa.ListArray | pa.ChunkedArray,
    raw_captions: pa.StringArray | pa.ChunkedArray,
    uids: pa.StringArray | pa.ChunkedArray,
    granularities: Collection[int] = GRANULARITIES,
    raw_caption: RawCaption = "both",
) -> OcrColumns:
    """Returns the `captions` and `metadata` columns of images with these lines of text, alt texts and uids.

    `ocr` has the type of `schemas.records.text_line.OCR_COLUMN`; chunked columns of tables are accepted. Boxes and
    confidences are clipped to [0, 1] and rounded to thousandths, from which everything else is computed. The captions
    of a row are ordered by granularity, first all without the raw caption, then all with it: consumers of the released
    files find granularity 4 second to last. An image without lines has empty sentences; a null alt text counts as an
    empty one. Raises `ValueError` for unequal lengths, an unknown choice or a NaN.
    """
    if not len(ocr) == len(raw_captions) == len(uids):
        raise ValueError(f"unequal lengths: {len(ocr)} ocr, {len(raw_captions)} raw captions, {len(uids)} uids")
    if not granularities or not set(granularities) <= set(GRANULARITIES):
        raise ValueError(f"granularities {list(granularities)} are not among 0 to 5")
    flags = get_raw_flags(raw_caption)
    ocr, uids = combine_chunks(ocr), combine_chunks(uids)
    raw_captions = pc.utf8_rtrim_whitespace(pc.fill_null(combine_chunks(raw_captions), ""))
    captions, metadata = [], []
    for rows in _slice_rows(ocr, raw_captions):
        lines = _Lines(ocr[rows])
        sentences = {number: lines.render_sentences(number) for number in sorted(set(granularities))}
        prefixes = _build_prefixes(raw_captions[rows], lines.counts)
        captions.append(_build_caption_lists(sentences, prefixes, flags))
        metadata.append(_build_metadata(lines, uids[rows]))
    return OcrColumns(pa.chunked_array(captions, pa.string()), pa.chunked_array(metadata, pa.string()))


def preview_captions(
    lines: Sequence[TextLine],
    raw: str = "",
    granularities: Collection[int] = GRANULARITIES,
    raw_caption: RawCaption = "both",
) -> list[Caption]:
    """Returns the captions of one image, parsed from what `render_ocr_captions` writes for it."""
    ocr = pa.array([[line_to_arrow(line) for line in lines]], OCR_COLUMN.type)
    columns = render_ocr_captions(
        ocr, pa.array([raw], pa.string()), pa.nulls(1, pa.string()), granularities, raw_caption
    )
    return parse_captions(columns.captions[0].as_py())


def _slice_rows(ocr: pa.ListArray, raw_captions: pa.StringArray) -> Iterator[slice]:
    """Cuts the rows so that no slice outgrows an Arrow array, for twelve captions at six bytes a character."""
    starts = compute_offsets(ocr)
    text_bytes = pc.binary_length(pc.struct_field(ocr.flatten(), "text")).to_numpy(zero_copy_only=False)
    texts_before = np.concatenate([[0], np.cumsum(text_bytes, dtype=np.int64)])[starts]
    raw_before = np.cumsum(pc.binary_length(raw_captions).to_numpy(zero_copy_only=False), dtype=np.int64)
    worst = 72 * (texts_before[1:] + raw_before) + 2000 * starts[1:]
    group = worst // SLICE_BYTES + np.arange(len(ocr)) // SLICE_ROWS
    cuts = [0, *(np.flatnonzero(np.diff(group)) + 1).tolist(), len(ocr)]
    yield from (slice(start, stop) for start, stop in pairwise(cuts) if start < stop)


class _Lines:
    """Holds the lines of text of a slice of rows as indices into the tables of atoms."""

    def __init__(self, ocr: pa.ListArray) -> None:
        lines = ocr.flatten()
        self.offsets = compute_offsets(ocr)
        self.counts = np.diff(self.offsets)
        self.plain, self.quoted, self.tagged = _escape_texts(pc.struct_field(lines, "text"))
        self.picks = _pick_atoms(lines)
        following = np.ones(len(lines), np.int32)
        following[self.offsets[:-1][self.counts > 0]] = 0
        self.picks["is_following"] = following

    def render_sentences(self, granularity: int) -> pa.StringArray:
        """Returns one sentence for each row, JSON-escaped; empty where there is no line."""
        return render_template(
            _SENTENCES[granularity], self.picks, self.tagged if granularity == 5 else self.quoted, self.offsets
        )

    def render_entries(self) -> pa.StringArray:
        """Returns the text between the brackets of each row's `entries`."""
        return render_template(_ENTRIES, self.picks, self.plain, self.offsets)


def _pick_atoms(lines: pa.StructArray) -> dict[str, Index]:
    """Returns for each field of a template the index of each line's entry in the field's table."""
    picks = {name: to_thousandths(pc.struct_field(lines, name)) for name in ("x1", "y1", "x2", "y2", "confidence")}
    picks |= {f"{corner}_tenths": picks[corner] for corner in ("x1", "y1", "x2", "y2")}
    picks["across"], picks["down"] = picks["x1"] + picks["x2"], picks["y1"] + picks["y2"]
    picks["position"] = classify_positions(picks["across"], picks["down"])
    picks["text"] = np.arange(len(lines), dtype=np.int32)
    picks["end"] = np.zeros(len(lines), np.int32)
    return picks


def _escape_texts(texts: pa.StringArray) -> tuple[pa.StringArray, pa.StringArray, pa.StringArray]:
    """Returns the texts as JSON in three forms: unquoted, between quotes, between tags."""
    rare = pc.match_substring_regex(texts, _RARE)
    if not rare.true_count:
        return texts, texts, texts
    changed = texts.filter(rare).to_pylist()
    plain, quoted, tagged = (
        pc.replace_with_mask(texts, rare, pa.array([escape_json(escape(text)) for text in changed], pa.string()))
        for escape in (str, escape_quoted, escape_tagged)
    )
    return plain, quoted, tagged


def _build_prefixes(raw_captions: pa.StringArray, counts: NDArray[np.int64]) -> pa.StringArray:
    """Returns the JSON-escaped text before the sentence in a row's captions with the raw caption."""
    alone = pc.or_(pc.equal(raw_captions, ""), pa.array(counts == 0))
    ended = pc.match_substring_regex(raw_captions, _SENTENCE_END)
    glue = pc.if_else(alone, "", pc.if_else(ended, " ", ". "))
    return pc.binary_join_element_wise(_escape_texts(raw_captions)[0], glue, "")


def _build_caption_lists(
    sentences: dict[int, pa.StringArray], prefixes: pa.StringArray, flags: Sequence[bool]
) -> pa.StringArray:
    parts, opening = [], '[{"text": "'
    for with_raw in flags:
        for granularity, sentence in sentences.items():
            parts += [opening, prefixes, sentence] if with_raw else [opening, sentence]
            closing = f'", "granularity": {granularity}, "include_datacomp_raw_cap": {json.dumps(with_raw)}}}'
            opening = closing + ', {"text": "'
    return pc.binary_join_element_wise(*parts, closing + "]", "")


def _build_metadata(lines: _Lines, uids: pa.StringArray) -> pa.StringArray:
    uid = pc.fill_null(pc.binary_join_element_wise('"', _escape_texts(uids)[0], '"', ""), "null")
    count = pa.array(lines.counts).cast(pa.string())
    return pc.binary_join_element_wise(
        '{"entries": [', lines.render_entries(), '], "length": ', count, ', "uid": ', uid, "}", ""
    )


class OcrOptions(CaptionOptions):
    """Holds the options of OCR captions."""

    granularities: list[Annotated[int, Field(ge=0, le=5)]] = Field([0, 1, 2, 3, 4, 5], min_length=1)
    min_confidence: float = Field(0.0, ge=0, le=1, description="raises the engine's own floor, without new annotation")
    min_lines: PositiveInt = Field(1, description="images with fewer lines get no OCR caption")


def _render_annotations(table: pa.Table, options: OcrOptions, _: pa.StringArray | None) -> Columns:
    return render_ocr_captions(
        table["ocr"], table["caption"], table["uid"], options.granularities, options.raw_caption
    )._asdict()


def _build_schema(revision: str, _: str) -> pa.Schema:
    return blip3_ocr_schema(revision)


FAMILY = CaptionFamily(
    name="ocr",
    column="ocr",
    columns=("ocr",),
    granularities=GRANULARITIES,
    threshold=ItemThreshold(
        "lines",
        "confidence",
        min_score_option="min_confidence",
        min_count_option="min_lines",
        reason=Reason.TOO_FEW_LINES,
    ),
    options=OcrOptions,
    render=_render_annotations,
    schema=_build_schema,
    parse=parse_captions,
    source="blip3-ocr",
    item_openings="{",
)
