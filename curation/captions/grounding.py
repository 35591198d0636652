"""Renders grounding captions in three granularities: a caption with the places of the things in it.

Each detected thing is described once. If the base caption mentions it, its place is written after that mention, or for
granularity 2 into tags around it; the caption's own words stay unchanged. Things that are not mentioned follow in one
sentence, "The image contains garment (in the center), ...". A mention takes the box with the highest score among the
remaining boxes of its label, so a label with two boxes and one mention is in the sentence too.

The base caption is the alt text or another data set's caption:

    base caption   without the raw caption                  with it
    alt text       the sentence, of all things              the alt text with places, the sentence
    another        that caption with places, the sentence   the alt text unchanged, then the same

A caption is a pure function of (annotation, base caption, template). Any text is accepted: text that looks like markup
is escaped (`schemas.layouts.blip3_grounding.escape_marked`), and reading undoes that.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise, repeat
from typing import Annotated, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field, PositiveInt

from curation.captions.atoms import (
    SENTENCE_MARKS,
    THOUSANDTHS,
    RawCaption,
    classify_positions,
    escape_json,
    get_raw_flags,
    to_thousandths,
)
from curation.captions.family import BaseCaptionOptions, CaptionFamily, Columns, ItemThreshold
from curation.captions.lists import combine_chunks, compute_offsets
from curation.captions.mentions import Mention, find_mentions
from schemas.layouts.blip3_grounding import (
    BOX_FORMAT,
    GRANULARITIES,
    blip3_grounding_schema,
    escape_listed,
    escape_marked,
    is_mistaken_for_tail,
    parse_captions,
)
from schemas.layouts.blip3_ocr import LEAD_IN, POSITIONS
from schemas.records.quarantine import Reason

WORDINGS = (
    "{name} ({position})",
    "{name} (starts at [{x1}, {y1}] and extends upto [{x2}, {y2}])",
    "<object>{name}</object><bbox>[{x1}, {y1}][{x2}, {y2}]</bbox>",
)
"""Each granularity's wording for a thing (BLIP-3, arXiv 2408.08872v4, Figure 4), with the released data's "upto"."""

_OPENINGS, _ENDINGS = zip(*(wording.split("{name}") for wording in WORDINGS), strict=True)


class GroundingColumns(NamedTuple):
    """Holds columns of the published layout: strings without nulls, one row for each image."""

    captions: pa.StringArray
    metadata: pa.StringArray


@dataclass(frozen=True, slots=True)
class _Thing:
    """Holds a detection as it is printed."""

    label: str
    endings: tuple[str, ...]  # the text after its name in each granularity
    entry: str  # JSON


def render_grounding_captions(
    boxes: pa.ListArray | pa.ChunkedArray,
    raw_captions: pa.StringArray | pa.ChunkedArray,
    tags: pa.ListArray | pa.ChunkedArray | None = None,
    base_captions: pa.StringArray | pa.ChunkedArray | None = None,
    granularities: Collection[int] = GRANULARITIES,
    raw_caption: RawCaption = "both",
) -> GroundingColumns:
    """Returns the `captions` and `metadata` columns of images with these detections and alt texts.

    `boxes` and `tags` have the types of `schemas.records.box.BOXES_COLUMN` and `schemas.records.tag.TAGS_COLUMN`;
    chunked columns of tables are accepted. Without `base_captions` the alt text is the base caption; then the mentions
    in the tags count as well as the labels that `find_mentions` finds. Boxes and scores are clipped to [0, 1] and
    rounded to thousandths. The captions of a row are ordered by granularity, first all without the raw caption, then
    all with it. White space at the end of a caption is removed. A null caption counts as an empty one, and an image
    without boxes has an empty sentence. Raises `ValueError` for unequal lengths, an unknown choice or a NaN.
    """
    columns = [column for column in (boxes, raw_captions, tags, base_captions) if column is not None]
    if len({len(column) for column in columns}) > 1:
        raise ValueError(f"unequal lengths: {', '.join(str(len(column)) for column in columns)}")
    if not granularities or not set(granularities) <= set(GRANULARITIES):
        raise ValueError(f"granularities {list(granularities)} are not among 0 to 2")
    flags = get_raw_flags(raw_caption)
    numbers = sorted(set(granularities))
    raws = _strip_column(raw_captions)
    bases = repeat(None, len(raws)) if base_captions is None else _strip_column(base_captions)
    tagged = repeat([], len(raws)) if tags is None or base_captions is not None else _collect_tagged_mentions(tags)
    captions, metadata = [], []
    for things, raw, base, mentions in zip(_build_things(combine_chunks(boxes)), raws, bases, tagged, strict=True):
        texts = list(_render_texts(things, raw, base, mentions, numbers))
        # The strings are JSON, which Python's parser reads too: repr() writes some characters differently by version.
        items = [
            f'["{escape_json(pair[with_raw])}", {number}, {with_raw}]'
            for with_raw in flags
            for number, pair in zip(numbers, texts, strict=True)
        ]
        captions.append(f"[{', '.join(items)}]")
        entries = ", ".join(thing.entry for thing in things)
        metadata.append(f'{{"entries": [{entries}], "format": "{BOX_FORMAT}", "length": {len(things)}}}')
    return GroundingColumns(pa.array(captions, pa.string()), pa.array(metadata, pa.string()))


def _render_texts(
    things: Sequence[_Thing], raw: str, base: str | None, tagged: Sequence[Mention], granularities: Sequence[int]
) -> Iterator[tuple[str, str]]:
    """Yields one image's caption of each granularity, without and with the raw caption."""
    caption = raw if base is None else base
    placed, rest = _assign_mentions(things, caption, raw, tagged)
    for number in granularities:
        grounded = _join_sentences(caption, _mark_up(caption, placed, number), _render_sentence(rest, number))
        if base is None:
            yield _render_sentence(things, number), grounded
        else:
            yield grounded, _join_sentences(raw, escape_marked(raw, number), grounded)


def _assign_mentions(
    things: Sequence[_Thing], base: str, raw: str, tagged: Sequence[Mention]
) -> tuple[list[tuple[Mention, _Thing]], list[_Thing]]:
    """Returns the mentions that get a place, and the remaining things. They are the same for all granularities."""
    waiting: dict[str, list[_Thing]] = {}  # label -> its things, lowest score first
    for thing in reversed(things):
        waiting.setdefault(thing.label, []).append(thing)
    labels = list(dict.fromkeys(thing.label for thing in things))
    placed = [
        (mention, waiting[mention.label].pop())
        for mention in find_mentions(base, labels, tagged)
        if waiting.get(mention.label)
    ]
    if placed and len(placed) == len(things) and is_mistaken_for_tail(base, placed[-1][0].end, before=raw):
        placed.pop()  # the caption itself says "The image contains", so a reader would expect the sentence there
    done = {id(thing) for _, thing in placed}
    return placed, [thing for thing in things if id(thing) not in done]


def _mark_up(caption: str, placed: Sequence[tuple[Mention, _Thing]], granularity: int) -> str:
    """Returns a caption with the places of its mentions."""
    parts, position = [], 0
    for mention, thing in placed:
        # without an opening mark, a name and the text before it are read as one piece, so they are escaped as one
        start = mention.start if _OPENINGS[granularity] else position
        parts += [
            escape_marked(caption[position:start], granularity),
            _OPENINGS[granularity],
            escape_marked(caption[start : mention.end], granularity),
            thing.endings[granularity],
        ]
        position = mention.end
    return "".join(parts) + escape_marked(caption[position:], granularity)


def _render_sentence(things: Sequence[_Thing], granularity: int) -> str:
    """Returns the sentence that lists the things; empty if there are none."""
    listed = (
        _OPENINGS[granularity] + escape_listed(thing.label, granularity) + thing.endings[granularity]
        for thing in things
    )
    return LEAD_IN + ", ".join(listed) if things else ""


def _join_sentences(caption: str, rendered: str, following: str) -> str:
    """Joins a rendered caption and what follows it; the original's last character says if a full stop goes between."""
    if not caption or not following:
        return rendered + following
    return rendered + (" " if caption[-1] in SENTENCE_MARKS else ". ") + following


def _strip_column(column: pa.StringArray | pa.ChunkedArray) -> list[str]:
    return [(text or "").rstrip() for text in column.to_pylist()]


def _build_things(boxes: pa.ListArray) -> Iterator[list[_Thing]]:
    """Yields the things of each row, highest score first."""
    items = boxes.flatten()
    scores = pc.struct_field(items, "score")
    x1, y1, x2, y2, confidence = (
        to_thousandths(pc.struct_field(items, name)) for name in ("x1", "y1", "x2", "y2", "score")
    )
    words = classify_positions(x1 + x2, y1 + y2).tolist()
    labels = pc.struct_field(items, "label").to_pylist()
    printed = zip(*(column.tolist() for column in (x1, y1, x2, y2, confidence)), strict=True)
    things = [
        _build_thing(label, POSITIONS[word], *(THOUSANDTHS[number] for number in row))
        for label, word, row in zip(labels, words, printed, strict=True)
    ]
    ranks = scores.to_pylist()
    for start, stop in pairwise(compute_offsets(boxes).tolist()):
        yield [things[number] for number in sorted(range(start, stop), key=lambda number: -ranks[number])]


def _build_thing(label: str, position: str, x1: str, y1: str, x2: str, y2: str, confidence: str) -> _Thing:
    endings = tuple(ending.format(position=position, x1=x1, y1=y1, x2=x2, y2=y2) for ending in _ENDINGS)
    box = f"[{x1}, {y1}, {x2}, {y2}]"
    return _Thing(label, endings, f'{{"category": "{escape_json(label)}", "bbox": {box}, "confidence": {confidence}}}')


def _collect_tagged_mentions(tags: pa.ListArray | pa.ChunkedArray) -> Iterator[list[Mention]]:
    """Yields the mentions in each row's alt text that its tags record."""
    tags = combine_chunks(tags)
    columns = (pc.struct_field(tags.flatten(), name).to_pylist() for name in ("name", "source", "start", "end"))
    found = list(zip(*columns, strict=True))
    for start, stop in pairwise(compute_offsets(tags).tolist()):
        yield [
            Mention(name, first, last)
            for name, source, first, last in found[start:stop]
            if source == "caption" and first is not None and last is not None
        ]


class GroundingOptions(BaseCaptionOptions):
    """Holds the options of grounding captions."""

    granularities: list[Annotated[int, Field(ge=0, le=2)]] = Field([0, 1, 2], min_length=1)
    min_score: float = Field(0.0, ge=0, le=1, description="raises the detector's own floor, without new annotation")
    min_boxes: PositiveInt = Field(1, description="images with fewer boxes get no grounding caption")


def _render_annotations(table: pa.Table, options: GroundingOptions, bases: pa.StringArray | None) -> Columns:
    tags = table["tags"] if "tags" in table.column_names else None
    columns = render_grounding_captions(
        table["boxes"], table["caption"], tags, bases, options.granularities, options.raw_caption
    )
    return {"cogvlm_caption": table["caption"] if bases is None else bases} | columns._asdict()


FAMILY = CaptionFamily(
    name="grounding",
    column="boxes",
    columns=("tags", "boxes"),
    granularities=GRANULARITIES,
    threshold=ItemThreshold(
        "boxes", "score", min_score_option="min_score", min_count_option="min_boxes", reason=Reason.TOO_FEW_BOXES
    ),
    options=GroundingOptions,
    render=_render_annotations,
    schema=blip3_grounding_schema,
    parse=parse_captions,
    source="blip3-grounding",
    item_openings="[(",
)
