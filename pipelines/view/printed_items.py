"""Finds the items of an image in its captions: which words came from which line of text or which box.

A caption does not say where its parts came from. So each item is rendered alone by the family's own renderer, which
gives the exact words that it has in a caption, whatever the template; these are then looked for in the caption.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from curation.captions.fields import TEXT_FIELDS
from curation.captions.grounding import render_grounding_captions
from curation.captions.inversion import find_inversion
from curation.captions.ocr import render_ocr_captions
from curation.captions.presets import get_default
from curation.captions.template_file import CaptionTemplate
from pipelines.view.page import MAX_TEXT, Shape
from pipelines.view.spans import Span
from schemas.layouts import blip3_grounding, blip3_ocr
from schemas.records.box import BOXES_COLUMN
from schemas.records.caption import Caption
from schemas.records.text_line import OCR_COLUMN

Item = Mapping[str, Any]
"""A line of text or a box, as its annotation column holds it."""

MAX_ITEMS = 500  # of an image that a page looks for in its captions: dense print has 200 lines

_MIN_PLACE = 4  # characters: what is written after a name is no place if it is shorter, such as a quote
_LAST_WORD = re.compile(r"[^\s(),.;:]+\Z")


@dataclass(frozen=True, slots=True)
class PrintedItem:
    """Holds what one item prints: its name, and what the template writes before and after it."""

    shape: int
    before: str
    name: str
    after: str

    @property
    def text(self) -> str:
        """Returns all of it."""
        return self.before + self.name + self.after


def print_items(
    template: CaptionTemplate,
    items: Sequence[Item],
    shapes: Sequence[Shape],
    size: tuple[int, int],
    max_items: int = MAX_ITEMS,
) -> dict[int, list[PrintedItem]]:
    """Returns what each item of one image prints, by granularity.

    `shapes` are those of the items, in the same order; `size` is the picture's in pixels.
    """
    printed: dict[int, list[PrintedItem]] = {number: [] for number in template.granularities}
    for item, shape, captions in zip(items, shapes, _render_alone(template, items[:max_items], size), strict=False):
        for caption in captions:
            found = _split(template, caption, str(item[TEXT_FIELDS[template.family]]), shape.number)
            printed[caption.granularity].append(found)
    return printed


def find_template(family: str, own: CaptionTemplate | None) -> CaptionTemplate | None:
    """Returns the template of a family's captions: their own, or that which ships; None for a family without any."""
    return own or (get_default(family) if family in TEXT_FIELDS else None)


def find_spans(
    text: str,
    items: Sequence[PrintedItem],
    template: CaptionTemplate | None = None,
    max_characters: int = MAX_TEXT,
) -> list[Span]:
    """Returns the spans of the items in the first characters of a caption, those that a page shows, each at most once.

    If the caption has the list of all items by `template`, they are there, and not where the alt text before it says
    the same. An item that is not there as a whole may be mentioned in another form ("knives" for "knife"): then its
    place alone is looked for, and the word before it belongs to the span.
    """
    if template is not None and (listed := _find_list(text, items, template)):
        return [span for span in listed if span.end <= max_characters]
    text = text[:max_characters]
    taken = bytearray(len(text))
    spans, remaining, position = [], [], 0
    for item in items:
        start = _find_free(text, item.text, taken, position)
        if start < 0:
            start = _find_free(text, item.text, taken, 0)
        if start < 0:
            remaining.append(item)
            continue
        position = start + len(item.text)
        spans.append(_take(taken, start, position, item))
    for item in remaining:
        if len(item.after) < _MIN_PLACE or (end := _find_free(text, item.after, taken, 0)) < 0:
            continue
        spans.append(_take(taken, _find_mention(text, item, end), end + len(item.after), item))
    return sorted(spans, key=lambda span: span.start)


def _find_list(text: str, items: Sequence[PrintedItem], template: CaptionTemplate) -> list[Span]:
    """Returns the spans of the items in the last list of all of them that a text has; none without one."""
    start = text.rfind(template.lead_in + template.separator.join(item.text for item in items))
    spans: list[Span] = []
    position = start + len(template.lead_in)
    for item in items if start >= 0 else ():
        spans.append(Span(position, position + len(item.text), (item.shape,)))
        position += len(item.text) + len(template.separator)
    return spans


def _render_alone(template: CaptionTemplate, items: Sequence[Item], size: tuple[int, int]) -> list[list[Caption]]:
    """Returns the captions of pictures that have one of the items each."""
    empty = pa.array([""] * len(items), pa.string())
    sizes = {
        name: pa.array([side] * len(items), pa.int32()) for name, side in zip(("width", "height"), size, strict=True)
    }
    rows = [[dict(item)] for item in items]
    if template.family == "ocr":
        lines = pa.array(rows, OCR_COLUMN.type)
        ocr = render_ocr_captions(lines, empty, empty, None, "without", template, sizes)
        return [blip3_ocr.parse_captions(text) for text in ocr.captions.to_pylist()]
    boxes = pa.array(rows, BOXES_COLUMN.type)
    found = render_grounding_captions(boxes, empty, None, None, None, "without", template, sizes)
    return [blip3_grounding.parse_captions(text) for text in found.captions.to_pylist()]


def _split(template: CaptionTemplate, caption: Caption, name: str, shape: int) -> PrintedItem:
    """Returns the only item of a caption, cut at its name as the template escapes it."""
    inversion = find_inversion(template, caption.granularity)
    printed = name if inversion is None else inversion.escape_listed(name)
    text = caption.text.removeprefix(template.lead_in).removesuffix(template.tail)
    before, found, after = text.partition(printed) if printed else ("", "", text)
    return PrintedItem(shape, before, found, after)


def _find_free(text: str, wanted: str, taken: bytearray, start: int) -> int:
    """Returns where `wanted` is in the text from `start` on, outside of what is taken; -1 if it is nowhere."""
    while wanted and (start := text.find(wanted, start)) >= 0:
        clash = taken.find(1, start, start + len(wanted))
        if clash < 0:
            return start
        start = taken.find(0, clash)  # no place before the end of what is taken is free either
        if start < 0:
            break
    return -1


def _find_mention(text: str, item: PrintedItem, end: int) -> int:
    """Returns where the mention begins whose place is at `end`: at the opening mark, or at the word before."""
    if item.before and (start := text.rfind(item.before, 0, end)) >= 0:
        return start
    word = _LAST_WORD.search(text, 0, end)
    return end if word is None else word.start()


def _take(taken: bytearray, start: int, end: int, item: PrintedItem) -> Span:
    taken[start:end] = b"\1" * (end - start)
    return Span(start, end, (item.shape,))
