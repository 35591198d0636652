"""Renders OCR captions by a template, a column at a time: those of BLIP-3's six granularities, or a user's own.

A caption is a pure function of (annotation, template). The templates are compiled (`curation.captions.templates`), so
that no Python code runs for each row.
"""

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import cache, partial
from itertools import pairwise
from typing import Annotated, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pydantic import Field, PositiveInt

from curation.captions.atoms import SENTENCE_MARKS, RawCaption, escape_json, get_raw_flags
from curation.captions.family import CaptionFamily, Columns, ItemThreshold, Renderer, TemplateOptions
from curation.captions.fields import FIELDS, TABLES, Sizes, compute_columns, print_pixels, repeat_sizes
from curation.captions.inversion import Inversion, find_inversion
from curation.captions.lists import combine_chunks, compute_offsets
from curation.captions.presets import get_default
from curation.captions.scans import find_endings, find_escaped
from curation.captions.template_file import CaptionTemplate
from curation.captions.templates import Template, compile_template, number_rows, render_template
from curation.format_strings import MAX_FIELDS, parse_format
from schemas.layouts.blip3_ocr import GRANULARITIES, blip3_ocr_schema, parse_captions
from schemas.layouts.look_alikes import LookAlike
from schemas.records.caption import Caption
from schemas.records.quarantine import Reason
from schemas.records.text_line import OCR_COLUMN, TextLine, line_to_arrow

_ENTRY = parse_format(
    '{{"text": "{text}", "bbox": [{x1}, {y1}, {x2}, {y2}], "confidence": {score}}}', ("text", *FIELDS)
)
_ENTRIES = compile_template(_ENTRY, TABLES, "", ", ", is_json=True)

_PIXEL_BYTES = 10 * MAX_FIELDS  # the most that the numbers of pixels of one line have
SLICE_ROWS = 4096  # rows rendered at once, few enough to stay in a core's cache
SLICE_BYTES = 1 << 28  # rendered at once, well below the 2 GiB that one Arrow string array can hold


class OcrColumns(NamedTuple):
    """Holds the JSON columns of the published layout: strings without nulls, one row for each image."""

    captions: pa.ChunkedArray
    metadata: pa.ChunkedArray


class _Wording(NamedTuple):
    """Holds a template's wording of one granularity, compiled."""

    sentence: Template
    inversion: Inversion | None  # how texts are escaped; None if they are not


@cache
def _compile_wordings(template: CaptionTemplate) -> Mapping[int, _Wording]:
    return {
        number: _Wording(
            compile_template(line, TABLES, template.lead_in, template.separator, template.tail),
            find_inversion(template, number),
        )
        for number, line in template.items
    }


def render_ocr_captions(
    ocr: pa.ListArray | pa.ChunkedArray,
    raw_captions: pa.StringArray | pa.ChunkedArray,
    uids: pa.StringArray | pa.ChunkedArray,
    granularities: Collection[int] | None = None,
    raw_caption: RawCaption = "both",
    template: CaptionTemplate | None = None,
    sizes: Sizes | None = None,
) -> OcrColumns:
    """Returns the `captions` and `metadata` columns of images with these lines of text, alt texts and uids.

    `ocr` has the type of `schemas.records.text_line.OCR_COLUMN`; chunked columns of tables are accepted. Boxes and
    confidences are clipped to [0, 1] and rounded to thousandths, from which everything but pixels is computed. `sizes`
    are those of the images, for templates that print pixels.

    The captions of a row are ordered by granularity, first all without the raw caption, then all with it: consumers of
    the released files find granularity 4 second to last. An image without lines has empty sentences; a null alt text
    counts as an empty one. Raises `ValueError` for unequal lengths, an unknown choice or a NaN.
    """
    if not len(ocr) == len(raw_captions) == len(uids):
        raise ValueError(f"unequal lengths: {len(ocr)} ocr, {len(raw_captions)} raw captions, {len(uids)} uids")
    wordings = _choose_wordings(template or get_default("ocr"), granularities)
    flags = get_raw_flags(raw_caption)
    ocr, uids = combine_chunks(ocr), combine_chunks(uids)
    raw_captions = pc.utf8_rtrim_whitespace(pc.fill_null(combine_chunks(raw_captions), ""))
    captions, metadata = [], []
    for rows in _slice_rows(ocr, raw_captions, wordings):
        lines = _Lines(ocr[rows], wordings, {name: size[rows] for name, size in (sizes or {}).items()})
        sentences = {number: lines.render_sentences(wording) for number, wording in wordings.items()}
        prefixes = _build_prefixes(raw_captions[rows], lines.counts)
        captions.append(_build_caption_lists(sentences, prefixes, flags))
        metadata.append(_build_metadata(lines, uids[rows]))
    return OcrColumns(pa.chunked_array(captions, pa.string()), pa.chunked_array(metadata, pa.string()))


def preview_captions(
    lines: Sequence[TextLine],
    raw: str = "",
    granularities: Collection[int] | None = None,
    raw_caption: RawCaption = "both",
    template: CaptionTemplate | None = None,
) -> list[Caption]:
    """Returns the captions of one image, parsed from what `render_ocr_captions` writes for it."""
    ocr = pa.array([[line_to_arrow(line) for line in lines]], OCR_COLUMN.type)
    columns = render_ocr_captions(
        ocr, pa.array([raw], pa.string()), pa.nulls(1, pa.string()), granularities, raw_caption, template
    )
    return parse_captions(columns.captions[0].as_py())


def _choose_wordings(template: CaptionTemplate, granularities: Collection[int] | None) -> dict[int, _Wording]:
    """Returns the wordings of these granularities, or of all, in their order. Raises `ValueError` for another one."""
    wordings = _compile_wordings(template)
    chosen = sorted(set(wordings if granularities is None else granularities))
    if not chosen or not set(chosen) <= set(wordings):
        raise ValueError(f"granularities {list(granularities or ())} are not among {', '.join(map(str, wordings))}")
    return {number: wordings[number] for number in chosen}


def _slice_rows(ocr: pa.ListArray, raw_captions: pa.StringArray, wordings: Mapping[int, _Wording]) -> Iterator[slice]:
    """Cuts the rows so that no slice outgrows an Arrow array, for two captions each at six bytes a character."""
    starts = compute_offsets(ocr)
    text_bytes = pc.binary_length(pc.struct_field(ocr.flatten(), "text")).to_numpy(zero_copy_only=False)
    texts_before = np.concatenate([[0], np.cumsum(text_bytes, dtype=np.int64)])[starts]
    raw_before = np.cumsum(pc.binary_length(raw_captions).to_numpy(zero_copy_only=False), dtype=np.int64)
    line_bytes = sum(wording.sentence.max_bytes + _PIXEL_BYTES for wording in wordings.values())
    worst = 12 * len(wordings) * (texts_before[1:] + raw_before) + 2 * line_bytes * starts[1:]
    group = worst // SLICE_BYTES + np.arange(len(ocr)) // SLICE_ROWS
    cuts = [0, *(np.flatnonzero(np.diff(group)) + 1).tolist(), len(ocr)]
    yield from (slice(start, stop) for start, stop in pairwise(cuts) if start < stop)


class _Lines:
    """Holds the lines of text of a slice of rows as indices into the tables of atoms."""

    def __init__(self, ocr: pa.ListArray, wordings: Mapping[int, _Wording], sizes: Sizes) -> None:
        lines = ocr.flatten()
        self.offsets = compute_offsets(ocr)
        self.counts = np.diff(self.offsets)
        columns = compute_columns(lines, "confidence")
        self._picks = number_rows(self.offsets) | {name: columns[field.column] for name, field in FIELDS.items()}
        self._texts = _escape_texts(pc.struct_field(lines, "text"), [each.inversion for each in wordings.values()])
        of_lines = repeat_sizes(sizes, self.counts)
        pixels = {field for wording in wordings.values() for field in wording.sentence.texts} - {"text"}
        self._pixels = {field: print_pixels(lines, field, of_lines) for field in pixels}

    def render_sentences(self, wording: _Wording) -> pa.StringArray:
        """Returns one sentence for each row, JSON-escaped; empty where there is no line."""
        texts = self._pixels | {"text": self._texts[_get_key(wording.inversion)]}
        return render_template(wording.sentence, self._picks, texts, self.offsets)

    def render_entries(self) -> pa.StringArray:
        """Returns the text between the brackets of each row's `entries`."""
        return render_template(_ENTRIES, self._picks, {"text": self._texts[None]}, self.offsets)


def _get_key(inversion: Inversion | None) -> tuple[LookAlike | None] | None:
    """Returns what texts that are escaped in the same way have in common."""
    return None if inversion is None else (inversion.look_alike,)


def _escape_texts(
    texts: pa.StringArray, inversions: Iterable[Inversion | None] = ()
) -> dict[tuple[LookAlike | None] | None, pa.StringArray]:
    """Returns the texts as JSON: as they are, and as each inversion escapes them."""
    escapes: dict[tuple[LookAlike | None] | None, Callable[[str], str]] = {None: str}
    escapes |= {_get_key(inversion): inversion.escape for inversion in inversions if inversion is not None}
    marks = "".join(key[0].character for key in escapes if key and key[0])
    found = find_escaped(texts, f'"\\{marks}', entities="al#" if marks else "")
    if not found.any():
        return dict.fromkeys(escapes, texts)
    rare = pa.array(found)
    changed = texts.filter(rare).to_pylist()
    return {
        key: pc.replace_with_mask(texts, rare, pa.array([escape_json(escape(text)) for text in changed], pa.string()))
        for key, escape in escapes.items()
    }


def _build_prefixes(raw_captions: pa.StringArray, counts: NDArray[np.int64]) -> pa.StringArray:
    """Returns the JSON-escaped text before the sentence in a row's captions with the raw caption."""
    alone = pc.or_(pc.equal(raw_captions, ""), pa.array(counts == 0))
    ended = pa.array(find_endings(raw_captions, SENTENCE_MARKS))
    glue = pc.if_else(alone, "", pc.if_else(ended, " ", ". "))
    return pc.binary_join_element_wise(_escape_texts(raw_captions)[None], glue, "")


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
    uid = pc.fill_null(pc.binary_join_element_wise('"', _escape_texts(uids)[None], '"', ""), "null")
    count = pa.array(lines.counts).cast(pa.string())
    return pc.binary_join_element_wise(
        '{"entries": [', lines.render_entries(), '], "length": ', count, ', "uid": ', uid, "}", ""
    )


class OcrOptions(TemplateOptions):
    """Holds the options of OCR captions."""

    granularities: list[Annotated[int, Field(ge=0, le=5)]] = Field([0, 1, 2, 3, 4, 5], min_length=1)
    min_confidence: float = Field(0.0, ge=0, le=1, description="raises the engine's own floor, without new annotation")
    min_lines: PositiveInt = Field(1, description="images with fewer lines get no OCR caption")


def _render_annotations(
    table: pa.Table, options: OcrOptions, _: pa.StringArray | None, template: CaptionTemplate | None = None
) -> Columns:
    sizes = {name: table[name] for name in ("width", "height") if name in table.column_names}
    columns = render_ocr_captions(
        table["ocr"], table["caption"], table["uid"], options.granularities, options.raw_caption, template, sizes
    )
    return columns._asdict()


def _use_template(template: CaptionTemplate) -> Renderer:
    return partial(_render_annotations, template=template)


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
    use_template=_use_template,
)
