"""Turns the captions of an image into texts of a page, with the words of each item tied to its shape."""

from collections.abc import Sequence

from curation.captions.template_file import CaptionTemplate
from pipelines.view.page import Shape, Text
from pipelines.view.printed_items import Item, find_spans, print_items
from pipelines.view.spans import cut_text
from schemas.records.caption import Caption


def link_captions(
    captions: Sequence[Caption],
    template: CaptionTemplate | None,
    items: Sequence[tuple[Item, Shape]],
    size: tuple[int, int],
) -> tuple[Text, ...]:
    """Returns a text for each caption. `size` is the picture's in pixels; without a template nothing is tied."""
    printed = {} if template is None else print_items(template, [i for i, _ in items], [s for _, s in items], size)
    return tuple(
        Text(
            f"granularity {caption.granularity}",
            cut_text(caption.text, find_spans(caption.text, printed.get(caption.granularity, ()), template)),
            "with the alt text" if caption.include_datacomp_raw_cap else "",
        )
        for caption in captions
    )
