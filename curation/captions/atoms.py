"""What the captions of both families are made of: numbers as they are printed, position words, ends of sentences."""

import json
from typing import Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

Index = NDArray[np.int32]

RawCaption = Literal["with", "without", "both"]

# Every number is one of 1001 thousandths, and every centre one of the 2001 sums of two of them, so all that can be
# printed is known. A reader can thus work out each form of a box from the one that is printed to three decimals.
THOUSANDTHS = [repr(number / 1000) for number in range(1001)]

SENTENCE_MARKS = ".!?…。．｡！？؟۔।॥։።᙮‼⁇⁈⁉"
"""What ends a sentence. Behind anything else a full stop goes before the next one begins."""

_JSON = json.JSONEncoder(ensure_ascii=False)


def thousandths(numbers: pa.FloatArray) -> Index:
    """Numbers, clipped to [0, 1], in thousandths. ValueError: a NaN."""
    exact = numbers.to_numpy(zero_copy_only=False).astype(np.float64)
    if np.isnan(exact).any():
        raise ValueError("a box or a confidence is not a number (NaN)")
    rounded: Index = np.rint(np.clip(exact, 0, 1) * 1000).astype(np.int32)
    return rounded


def positions(across: Index, down: Index) -> Index:
    """Which of `POSITIONS` a centre has; its sums x1 + x2 and y1 + y2 are in thousandths."""
    # thirds of the centre: a sum of thousandths is never exactly one
    row, column = ((3 * total > 2000).astype(np.int32) + (3 * total > 4000) for total in (down, across))
    position: Index = 3 * row + column
    return position


def raw_flags(raw_caption: str) -> list[bool]:
    """The values of `include_datacomp_raw_cap`, in their order in a row. ValueError: an unknown choice."""
    flags = {"without": [False], "with": [True], "both": [False, True]}.get(raw_caption)
    if flags is None:
        raise ValueError(f"raw_caption is {raw_caption!r}, not with, without or both")
    return flags


def as_json(text: str) -> str:
    """`text` as it stands between the quotes of a JSON string; other scripts stay readable."""
    return _JSON.encode(text)[1:-1]
