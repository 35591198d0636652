"""Renders grounding captions by a template: a caption with the places of the things in it.

The default template has BLIP-3's three granularities.

Each detected thing is described once. If the base caption mentions it, its place is written after that mention, or for
granularity 2 into tags around it; the caption's own words stay unchanged. Things that are not mentioned follow in one
sentence, "The image contains garment (in the center), ...". A mention takes the box with the highest score among the
remaining boxes of its label, so a label with two boxes and one mention is in the sentence too.

The base caption is the alt text or another data set's caption:

    base caption   without the raw caption                  with it
    alt text       the sentence, of all things              the alt text with places, the sentence
    another        that caption with places, the sentence   the alt text unchanged, then the same

A caption is a pure function of (annotation, base caption, template). Any text is accepted: text that looks like markup
is escaped (`curation.captions.inversion`), and reading undoes that.
"""

from collections.abc import Collection, Iterator, Sequence
from functools import partial
from itertools import pairwise, repeat
from typing import Annotated, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field, PositiveInt

from curation.captions.atoms import SENTENCE_MARKS, RawCaption, escape_json, get_raw_flags
from curation.captions.family import (
    BaseCaptionOptions,
    CaptionFamily,
    Columns,
    ItemThreshold,
    Renderer,
    TemplateOptions,
)
from curation.captions.fields import Sizes
from curation.captions.lists import combine_chunks, compute_offsets
from curation.captions.mentions import Mention, find_mentions
from curation.captions.presets import get_default
from curation.captions.template_file import CaptionTemplate
from curation.captions.things import Thing, build_things
from curation.captions.wordings import Wording, compile_wordings
from schemas.layouts.blip3_grounding import BOX_FORMAT, GRANULARITIES, blip3_grounding_schema, is_end, parse_captions
from schemas.records.quarantine import Reason


class GroundingColumns(NamedTuple):
    """Holds columns of the published layout: strings without nulls, one row for each image."""

    captions: pa.StringArray
    metadata: pa.StringArray


def render_grounding_captions(
    boxes: pa.ListArray | pa.ChunkedArray,
    raw_captions: pa.StringArray | pa.ChunkedArray,
    tags: pa.ListArray | pa.ChunkedArray | None = None,
    base_captions: pa.StringArray | pa.ChunkedArray | None = None,
    granularities: Collection[int] | None = None,
    raw_caption: RawCaption = "both",
    template: CaptionTemplate | None = None,
    sizes: Sizes | None = None,
) -> GroundingColumns:
    """Returns the `captions` and `metadata` columns of images with these detections and alt texts.

    `boxes` and `tags` have the types of `schemas.records.box.BOXES_COLUMN` and `schemas.records.tag.TAGS_COLUMN`;
    chunked columns of tables are accepted. Without `base_captions` the alt text is the base caption; then the mentions
    in the tags count as well as the labels that `find_mentions` finds. Boxes and scores are clipped to [0, 1] and
    rounded to thousandths. `sizes` are those of the images, for templates that print pixels.

    The captions of a row are ordered by granularity, first all without the raw caption, then all with it. White space
    at the end of a caption is removed. A null caption counts as an empty one, and an image without boxes has an empty
    sentence. Raises `ValueError` for unequal lengths, an unknown choice or a NaN.
    """
    columns = [column for column in (boxes, raw_captions, tags, base_captions) if column is not None]
    if len({len(column) for column in columns}) > 1:
        raise ValueError(f"unequal lengths: {', '.join(str(len(column)) for column in columns)}")
    template = template or get_default("grounding")
    numbers = sorted(set(template.granularities if granularities is None else granularities))
    if not numbers or not set(numbers) <= set(template.granularities):
        known = ", ".join(map(str, template.granularities))
        raise ValueError(f"granularities {list(granularities or ())} are not among {known}")
    flags = get_raw_flags(raw_caption)
    wordings = compile_wordings(template, numbers)
    raws = _strip_column(raw_captions)
    bases = repeat(None, len(raws)) if base_captions is None else _strip_column(base_captions)
    tagged = repeat([], len(raws)) if tags is None or base_captions is not None else _collect_tagged_mentions(tags)
    captions, metadata = [], []
    rows = build_things(combine_chunks(boxes), wordings, sizes or {})
    for things, raw, base, mentions in zip(rows, raws, bases, tagged, strict=True):
        texts = list(_render_texts(things, raw, base, mentions, template, wordings))
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
    things: Sequence[Thing],
    raw: str,
    base: str | None,
    tagged: Sequence[Mention],
    template: CaptionTemplate,
    wordings: Sequence[Wording],
) -> Iterator[tuple[str, str]]:
    """Yields one image's caption of each granularity, without and with the raw caption."""
    caption = raw if base is None else base
    placed, rest = _assign_mentions(things, caption, raw, tagged, template)
    for place, wording in enumerate(wordings):
        grounded = _join_sentences(
            caption, _mark_up(caption, placed, wording, place), _render_list(rest, template, wording, place)
        )
        if base is None:
            yield _render_list(things, template, wording, place), grounded
        else:
            yield grounded, _join_sentences(raw, wording.escape(raw), grounded)


def _assign_mentions(
    things: Sequence[Thing], base: str, raw: str, tagged: Sequence[Mention], template: CaptionTemplate
) -> tuple[list[tuple[Mention, Thing]], list[Thing]]:
    """Returns the mentions that get a place, and the remaining things. They are the same for all granularities."""
    waiting: dict[str, list[Thing]] = {}  # label -> its things, lowest score first
    for thing in reversed(things):
        waiting.setdefault(thing.label, []).append(thing)
    labels = list(dict.fromkeys(thing.label for thing in things))
    placed = [
        (mention, waiting[mention.label].pop())
        for mention in find_mentions(base, labels, tagged)
        if waiting.get(mention.label)
    ]
    if placed and len(placed) == len(things) and _is_mistaken_for_list(base, placed[-1][0].end, raw, template):
        placed.pop()  # the caption itself says "The image contains", so a reader would expect the list there
    done = {id(thing) for _, thing in placed}
    return placed, [thing for thing in things if id(thing) not in done]


def _is_mistaken_for_list(caption: str, end: int, before: str, template: CaptionTemplate) -> bool:
    """Returns whether a caption without a list, whose last place ends at `end`, would be read as having one."""
    lead = template.lead_in.rstrip()
    if not lead or (lead not in caption and lead not in before):
        return False
    return is_end(caption, end) or caption[end:] == template.tail


def _mark_up(caption: str, placed: Sequence[tuple[Mention, Thing]], wording: Wording, place: int) -> str:
    """Returns a caption with the places of its mentions."""
    parts, position = [], 0
    for mention, thing in placed:
        # without an opening mark, a name and the text before it are read as one piece, so they are escaped as one
        start = mention.start if wording.has_opening else position
        parts += [
            wording.escape(caption[position:start]),
            thing.openings[place],
            wording.escape(caption[start : mention.end]),
            thing.endings[place],
        ]
        position = mention.end
    return "".join(parts) + wording.escape(caption[position:])


def _render_list(things: Sequence[Thing], template: CaptionTemplate, wording: Wording, place: int) -> str:
    """Returns the sentence that lists the things; empty if there are none."""
    if not things:
        return ""
    listed = (thing.openings[place] + wording.escape_listed(thing.label) + thing.endings[place] for thing in things)
    return template.lead_in + template.separator.join(listed) + template.tail


def _join_sentences(caption: str, rendered: str, following: str) -> str:
    """Joins a rendered caption and what follows it; the original's last character says if a full stop goes between."""
    if not caption or not following:
        return rendered + following
    return rendered + (" " if caption[-1] in SENTENCE_MARKS else ". ") + following


def _strip_column(column: pa.StringArray | pa.ChunkedArray) -> list[str]:
    return [(text or "").rstrip() for text in column.to_pylist()]


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


class GroundingOptions(TemplateOptions, BaseCaptionOptions):
    """Holds the options of grounding captions."""

    granularities: list[Annotated[int, Field(ge=0, le=2)]] = Field([0, 1, 2], min_length=1)
    min_score: float = Field(0.0, ge=0, le=1, description="raises the detector's own floor, without new annotation")
    min_boxes: PositiveInt = Field(1, description="images with fewer boxes get no grounding caption")


def _render_annotations(
    table: pa.Table,
    options: GroundingOptions,
    bases: pa.StringArray | None,
    template: CaptionTemplate | None = None,
) -> Columns:
    columns = render_grounding_captions(
        table["boxes"],
        table["caption"],
        table["tags"] if "tags" in table.column_names else None,
        bases,
        options.granularities,
        options.raw_caption,
        template,
        {name: table[name] for name in ("width", "height") if name in table.column_names},
    )
    return {"cogvlm_caption": table["caption"] if bases is None else bases} | columns._asdict()


def _use_template(template: CaptionTemplate) -> Renderer:
    return partial(_render_annotations, template=template)


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
    use_template=_use_template,
)
