"""Ties the words of a sample's captions to what engines have found."""

from collections.abc import Sequence

import pyarrow as pa

from curation.captions.fields import TEXT_FIELDS
from curation.captions.template_file import CaptionTemplate
from pipelines.explain.detections import (
    CAPTIONS,
    describe_entry,
    describe_item,
    find_model_caption,
    match_entries,
)
from pipelines.explain.origin import CaptionText, Detection, SpanOrigin
from pipelines.explain.trace import Trace
from pipelines.render.rendering import Rendering
from pipelines.render.run import render_row
from pipelines.view.columns.captions import find_claims
from pipelines.view.entries import LAYERS, read_entries
from pipelines.view.kinds.annotations import draw_shapes
from pipelines.view.page import Shape
from pipelines.view.printed_items import Item, find_spans, find_template, print_items
from schemas.errors import ShardloomError
from schemas.layouts.blip3_grounding import ALT_TEXT
from schemas.records.caption import Caption

MAX_ITEMS, MAX_CHARACTERS = 10_000, 1_000_000  # of a sample and of a caption; ten times those of any that was seen

Tied = tuple[list[CaptionText], list[SpanOrigin]]
"""Captions, and the spans in them."""


def tie_captions(trace: Trace) -> Tied:
    """Returns the captions of a sample with their spans: first the text to train on, then the rendered captions."""
    texts = [one for one in trace.texts if one.text not in {caption.text for caption in trace.captions}]
    trained = {one.text for one in trace.texts}
    texts += [CaptionText(_name(caption), caption.text, caption.text in trained) for caption in trace.captions]
    first = len(texts) - len(trace.captions)
    spans = _tie_rendered(trace, first)
    for number, one in enumerate(texts):
        spans += _tie_written(trace, number, one.text)
    return texts, sorted(spans, key=lambda span: (span.caption, span.start, span.end))


def _tie_rendered(trace: Trace, first: int) -> list[SpanOrigin]:
    """Returns the spans of lines and boxes in captions that were rendered from them."""
    family, entries = read_entries(trace.metadata) if trace.metadata else ("", [])
    if not family or trace.size is None:
        return []
    column, row = LAYERS[family], trace.annotations
    found: list[list[Detection]] = [[describe_entry(column, shape, trace.size)] for _, shape in entries]
    if row is not None and row.get(column):
        numbers = match_entries([item for item, _ in entries], row[column], TEXT_FIELDS[family])
        for place, number in enumerate(numbers):
            if number is not None:
                found[place] = describe_item(row, column, number, trace.size)
    template = find_template(family, trace.template)
    if template is None:
        return []
    items, shapes = [item for item, _ in entries], [shape for _, shape in entries]
    return tie_items(trace, trace.captions, template, items, shapes, found, first)


def tie_items(
    trace: Trace,
    captions: Sequence[Caption],
    template: CaptionTemplate,
    items: Sequence[Item],
    shapes: Sequence[Shape],
    found: Sequence[Sequence[Detection]],
    first: int,
) -> list[SpanOrigin]:
    """Returns the spans of items in captions, the first of which has the number `first`.

    `found` has the detections of each item. Notes what is beyond the limits.
    """
    assert trace.size is not None, "the places of items are in an image of a size"
    longest = max((len(caption.text) for caption in captions), default=0)
    for count, most, what in ((len(items), MAX_ITEMS, "items"), (longest, MAX_CHARACTERS, "characters of a caption")):
        if count > most:
            trace.notes.append(f"of {count:,} {what}, only the first {most:,} are explained")
    numbered = {shape.number: place for place, shape in enumerate(shapes)}
    printed = print_items(template, items, shapes, trace.size, MAX_ITEMS)
    return [
        SpanOrigin(
            number,
            span.start,
            span.end,
            caption.text[span.start : span.end],
            tuple(one for shape in span.shapes for one in found[numbered[shape]]),
        )
        for number, caption in enumerate(captions, first)
        for span in find_spans(caption.text, printed.get(caption.granularity, ()), template, MAX_CHARACTERS)
    ]


def tie_annotations(trace: Trace, table: pa.Table, renderings: Sequence[Rendering]) -> Tied:
    """Returns the captions of an annotation row with their spans: those of models, and what `renderings` make of it.

    `table` holds the row alone.
    """
    row, size = trace.annotations, trace.size
    assert row is not None, "the set is one of annotations"
    assert size is not None, "every annotated image has a size"
    texts = [CaptionText(one["name"], one["text"]) for one in row.get(CAPTIONS) or ()]
    spans = [span for number, one in enumerate(texts) for span in _tie_written(trace, number, one.text)]
    for rendering in renderings:
        column, name = rendering.family.column, rendering.family.name
        if not row.get(column) or (template := find_template(name, None)) is None:
            continue
        try:
            captions = render_row(table, rendering, rendering.build_schema("", ALT_TEXT), None)
        except ShardloomError as error:  # an engine has failed on this row
            trace.notes.append(str(error))
            continue
        found = [describe_item(row, column, number, size) for number in range(len(row[column]))]
        spans += tie_items(trace, captions, template, row[column], draw_shapes(row)[column], found, len(texts))
        texts += [CaptionText(f"render {name}: {_name(caption)}", caption.text) for caption in captions]
    return texts, spans


def _tie_written(trace: Trace, caption: int, text: str) -> list[SpanOrigin]:
    """Returns the spans of a caption that a model wrote: the whole of it, and its claims."""
    row = trace.annotations
    number = None if row is None else find_model_caption(row, text, may_be_cut=trace.template is None)
    if row is None or number is None:
        return []
    written = describe_item(row, CAPTIONS, number, trace.size)
    whole = row[CAPTIONS][number]["text"]
    start = max(0, text.find(whole))
    end = start + len(whole) if whole in text else len(text)
    spans = [SpanOrigin(caption, start, end, text[start:end], tuple(written))]
    shapes = draw_shapes(row)
    places = {shape.number: (column, place) for column, drawn in shapes.items() for place, shape in enumerate(drawn)}
    for claim in find_claims(text, row, shapes, with_alt_text=True):
        found = [one for shape in claim.shapes for one in describe_item(row, *places[shape], trace.size)]
        words = text[claim.start : claim.end]
        spans.append(SpanOrigin(caption, claim.start, claim.end, words, (*found, *written), claim.status, claim.note))
    return spans


def _name(caption: Caption) -> str:
    return f"granularity {caption.granularity}" + (" with the alt text" if caption.include_datacomp_raw_cap else "")
