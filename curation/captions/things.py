"""Prints detections as grounding captions need them: what is written before and after each label, and its entry."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from curation.captions.atoms import escape_json
from curation.captions.fields import FIELDS, TABLES, Sizes, compute_columns, print_pixels, repeat_sizes
from curation.captions.lists import compute_offsets
from curation.captions.wordings import Wording

_ENTRY_FIELDS = ("x1", "y1", "x2", "y2", "score")


@dataclass(frozen=True, slots=True)
class Thing:
    """Holds a detection as it is printed."""

    label: str
    openings: tuple[str, ...]  # the text before its label in each granularity that is rendered
    endings: tuple[str, ...]  # the text after it
    entry: str  # JSON


def build_things(boxes: pa.ListArray, wordings: Sequence[Wording], sizes: Sizes) -> Iterator[list[Thing]]:
    """Yields the things of each row, highest score first."""
    items, offsets = boxes.flatten(), compute_offsets(boxes)
    columns = _print_columns(items, wordings, repeat_sizes(sizes, np.diff(offsets)))
    labels = pc.struct_field(items, "label").to_pylist()
    openings, endings = (
        list(zip(*(affix.render(columns, len(labels)) for affix in affixes), strict=True))
        for affixes in ([wording.opening for wording in wordings], [wording.ending for wording in wordings])
    )
    entries = [
        f'{{"category": "{escape_json(label)}", "bbox": [{x1}, {y1}, {x2}, {y2}], "confidence": {score}}}'
        for label, x1, y1, x2, y2, score in zip(labels, *(columns[name] for name in _ENTRY_FIELDS), strict=True)
    ]
    things = list(map(Thing, labels, openings, endings, entries))
    ranks = pc.struct_field(items, "score").to_pylist()
    for start, stop in pairwise(offsets.tolist()):
        yield [things[number] for number in sorted(range(start, stop), key=lambda number: -ranks[number])]


def _print_columns(
    items: pa.StructArray, wordings: Sequence[Wording], sizes: Mapping[str, NDArray[np.int32]]
) -> dict[str, list[str]]:
    """Returns what each field that is used prints for each item."""
    numbers = {name: column.tolist() for name, column in compute_columns(items, "score").items()}
    used = {field for wording in wordings for affix in (wording.opening, wording.ending) for field in affix.fields}
    return {
        name: [TABLES[name][number] for number in numbers[FIELDS[name].column]]
        if name in TABLES
        else print_pixels(items, name, sizes).to_pylist()
        for name in used.union(_ENTRY_FIELDS)
    }
