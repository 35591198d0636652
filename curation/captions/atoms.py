"""Makes what the captions of both families consist of: printed numbers, position words, ends of sentences."""

from json.encoder import encode_basestring
from typing import Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

Index = NDArray[np.int32]

RawCaption = Literal["with", "without", "both"]

# Every number is one of 1001 thousandths, and every centre one of the 2001 sums of two of them, so all possible outputs
# are known in advance. A reader can thus compute each form of a box from the one that is printed to three decimals.
THOUSANDTHS = [repr(number / 1000) for number in range(1001)]

SENTENCE_MARKS = ".!?…。．｡！？؟۔।॥։።᙮‼⁇⁈⁉"
"""Characters that end a sentence. After any other character, a full stop is inserted before the next sentence."""


def to_thousandths(numbers: pa.FloatArray) -> Index:
    """Clips numbers to [0, 1] and returns them in thousandths. Raises `ValueError` for a NaN."""
    exact = numbers.to_numpy(zero_copy_only=False).astype(np.float64)
    if np.isnan(exact).any():
        raise ValueError("a box or a confidence is not a number (NaN)")
    np.clip(exact, 0, 1, out=exact)
    exact *= 1000
    rounded: Index = np.rint(exact, out=exact).astype(np.int32)
    return rounded


def classify_positions(across: Index, down: Index) -> Index:
    """Returns the index in `POSITIONS` of each centre; `across` is x1 + x2 and `down` is y1 + y2, in thousandths."""
    # The limits are the thirds of the image, which no sum of thousandths equals exactly.
    row, column = ((3 * total > 2000).astype(np.int32) + (3 * total > 4000) for total in (down, across))
    position: Index = 3 * row + column
    return position


def get_raw_flags(raw_caption: str) -> list[bool]:
    """Returns the values of `include_datacomp_raw_cap`, in a row's order. Raises `ValueError` for an unknown choice."""
    flags = {"without": [False], "with": [True], "both": [False, True]}.get(raw_caption)
    if flags is None:
        raise ValueError(f"raw_caption is {raw_caption!r}, not with, without or both")
    return flags


def escape_json(text: str) -> str:
    """Returns `text` as it stands between the quotes of a JSON string. Other scripts are not escaped."""
    return encode_basestring(text)[1:-1]  # what `json.dumps` calls for a text, without its other checks
