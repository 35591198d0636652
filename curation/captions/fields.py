"""Defines the fields that a template may name: what each prints, and from which column of numbers.

Numbers are thousandths, or sums of two, so that all that most fields can print is known in advance. A template is cut
into these atoms (`curation.captions.templates`), and a reader computes every form of a box from three decimals.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from curation.captions.atoms import THOUSANDTHS, Index, classify_positions, to_thousandths
from schemas.layouts.blip3_ocr import POSITIONS

TEXT_FIELDS = {"ocr": "text", "grounding": "label"}
"""The field of each family that prints the item's text. Every item has it once."""

_TENTHS = [repr(round(number / 1000, 1)) for number in range(1001)]
_SHARES = [str(Fraction(total, 2000).limit_denominator(20)) for total in range(2001)]  # 20: the limit in the reference
_INTEGERS = [str((999 * number + 500) // 1000) for number in range(1001)]
_DIGITS = [number.zfill(3) for number in _INTEGERS]

_DECIMAL = r"[01]\.[0-9]{1,3}"
_CORNERS = ("x1", "y1", "x2", "y2")


@dataclass(frozen=True, slots=True)
class Field:
    """Describes what a field prints."""

    column: str
    """The column of numbers that picks the value: a box's corner, its centre, its position or the score."""
    pattern: str
    """Matches everything that the field prints, and no more than that from its beginning."""
    characters: str
    """All characters that the field prints."""
    values: Sequence[str] = ()
    """Everything that the field prints, by the number in its column; empty for pixels, which depend on the image."""


def _make_corners(suffix: str, pattern: str, characters: str, values: Sequence[str]) -> dict[str, Field]:
    return {f"{corner}{suffix}": Field(corner, pattern, characters, values) for corner in _CORNERS}


_NUMERALS = "0123456789"

FIELDS: Mapping[str, Field] = {
    "position": Field("position", "(?:" + "|".join(POSITIONS) + ")", "".join(set("".join(POSITIONS))), POSITIONS),
    "down": Field("down", "[0-9]{1,2}(?:/[0-9]{1,2})?", _NUMERALS + "/", _SHARES),
    "across": Field("across", "[0-9]{1,2}(?:/[0-9]{1,2})?", _NUMERALS + "/", _SHARES),
    **_make_corners("", _DECIMAL, _NUMERALS + ".", THOUSANDTHS),
    **_make_corners("_tenths", r"[01]\.[0-9]", _NUMERALS + ".", _TENTHS),
    **_make_corners("_999", "[0-9]{1,3}", _NUMERALS, _INTEGERS),
    **_make_corners("_3digits", "[0-9]{3}", _NUMERALS, _DIGITS),
    **_make_corners("_pixels", "[0-9]{1,10}", _NUMERALS, ()),
    "score": Field("score", _DECIMAL, _NUMERALS + ".", THOUSANDTHS),
}
"""The fields beside the text's, by name. `docs/data.md` has what each is for."""

_PRINTED = 1 << 13  # numbers of pixels; images with a longer side are rare

TABLES = {name: field.values for name, field in FIELDS.items() if field.values}


Sizes = Mapping[str, pa.Array | pa.ChunkedArray]
"""The `width` and `height` of images in pixels."""


def compute_columns(items: pa.StructArray, score: str) -> dict[str, Index]:
    """Returns the columns of numbers of items with a box, of which the field `score` holds the score.

    Boxes and scores are clipped to [0, 1] and rounded to thousandths. Raises `ValueError` for a NaN.
    """
    columns = {name: to_thousandths(pc.struct_field(items, name)) for name in _CORNERS}
    columns["score"] = to_thousandths(pc.struct_field(items, score))
    columns["across"], columns["down"] = columns["x1"] + columns["x2"], columns["y1"] + columns["y2"]
    columns["position"] = classify_positions(columns["across"], columns["down"])
    return columns


def repeat_sizes(sizes: Sizes, counts: NDArray[np.int64]) -> dict[str, NDArray[np.int32]]:
    """Returns the sizes of images for each of their items."""
    return {name: np.repeat(np.asarray(size), counts) for name, size in sizes.items()}


def print_pixels(
    items: pa.StructArray, field: str, sizes: Mapping[str, NDArray[np.int32]]
) -> pa.StringArray | pa.DictionaryArray:
    """Returns what a field of pixels prints for items in images of these sizes: the `width` and `height` for each item.

    Unlike all other numbers, pixels are computed from the box as it is stored: thousandths are too coarse for them.
    Raises `ValueError` without the sizes.
    """
    corner = FIELDS[field].column
    side = "width" if corner[0] == "x" else "height"
    if side not in sizes:
        raise ValueError(f"{{{field}}} needs the {side} of the images")
    exact = pc.struct_field(items, corner).to_numpy(zero_copy_only=False).astype(np.float64)
    pixels = np.rint(np.clip(exact, 0, 1) * sizes[side]).astype(np.int64)
    if len(pixels) and int(pixels.max()) < len(numbers := _print_numbers()):
        return pa.DictionaryArray.from_arrays(pa.array(pixels.astype(np.int32)), numbers)
    return pa.array(pixels).cast(pa.string())


@cache
def _print_numbers() -> pa.StringArray:
    """Returns the numbers of pixels of most images: looking one up takes a third of the time of printing it."""
    return pa.array(np.arange(_PRINTED)).cast(pa.string())
