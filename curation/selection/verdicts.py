"""Decides which rows of metadata are left out, and by which rule: one polars expression, and checks outside of it.

Importing this module imports polars, which then fixes its number of threads: see `pipelines.select.run`.
"""

from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from curation.selection.rules import HEIGHT, SCORES, TEXT, UID, URL, WIDTH, SelectionRules
from schemas.layouts.subset_file import UID_DTYPE
from schemas.records.quarantine import Reason

ORDER = (
    Reason.MALFORMED_ROW,
    Reason.MALFORMED_UID,
    Reason.MISSING_URL,
    Reason.MISSING_VALUE,
    Reason.LOW_SIMILARITY,
    Reason.BELOW_TOP_FRACTION,
    Reason.TOO_SMALL,
    Reason.TOO_LARGE,
    Reason.EXTREME_ASPECT,
    Reason.TOO_SHORT,
    Reason.TOO_LONG,
    Reason.TOO_FEW_WORDS,
    Reason.TOO_MANY_WORDS,
    Reason.NOT_IN_SUBSET,
    Reason.EXCLUDED,
    Reason.OTHER_LANGUAGE,
    Reason.DUPLICATE_UID,
)
"""A row is left out by the first of these that applies. The costliest come last, so that they see the fewest rows."""

CODES = {reason: number for number, reason in enumerate(ORDER)}
KEEP = len(ORDER)
"""A row's verdict is the place of a reason in `ORDER`, or this number for a row that is kept."""

HEX_UID = r"^[0-9a-fA-F]{32}$"


def build_verdict(rules: SelectionRules, threshold: float | None) -> pl.Expr:
    """Returns the verdict of all rules except languages. `threshold` is the least score within `top_fraction`."""
    width, height = pl.col(WIDTH).cast(pl.Float64), pl.col(HEIGHT).cast(pl.Float64)
    shorter, longer = pl.min_horizontal(width, height), pl.max_horizontal(width, height)
    caption = pl.col(TEXT).fill_null("")
    characters, words = caption.str.len_chars(), caption.str.count_matches(r"\S+")
    numbers = [pl.col(name) for name, kind in rules.list_columns().items() if kind == "number"]
    checks: list[tuple[Reason, pl.Expr | None]] = [
        (Reason.MALFORMED_UID, pl.col(UID).str.contains(HEX_UID).fill_null(False).not_()),
        (Reason.MISSING_URL, pl.col(URL).fill_null("").str.strip_chars() == ""),
        (Reason.MISSING_VALUE, pl.any_horizontal(_is_missing(number) for number in numbers) if numbers else None),
        *((Reason.LOW_SIMILARITY, _is_below(name, getattr(rules, f"min_{name}"))) for name in SCORES),
        (Reason.BELOW_TOP_FRACTION, _is_below(rules.top_by, threshold)),
        (Reason.TOO_SMALL, None if rules.min_width is None else width < rules.min_width),
        (Reason.TOO_SMALL, None if rules.min_height is None else height < rules.min_height),
        (Reason.TOO_SMALL, None if rules.min_side is None else shorter < rules.min_side),
        (Reason.TOO_LARGE, None if rules.max_width is None else width > rules.max_width),
        (Reason.TOO_LARGE, None if rules.max_height is None else height > rules.max_height),
        (Reason.EXTREME_ASPECT, None if rules.max_aspect is None else longer > rules.max_aspect * shorter),
        (Reason.TOO_SHORT, None if rules.min_characters is None else characters < rules.min_characters),
        (Reason.TOO_LONG, None if rules.max_characters is None else characters > rules.max_characters),
        (Reason.TOO_FEW_WORDS, None if rules.min_words is None else words < rules.min_words),
        (Reason.TOO_MANY_WORDS, None if rules.max_words is None else words > rules.max_words),
    ]
    reasons = [pl.when(check).then(_make_code(CODES[reason])) for reason, check in checks if check is not None]
    return pl.coalesce([*reasons, _make_code(KEEP)])


def parse_uids(frame: pl.DataFrame) -> NDArray[Any]:
    """Returns the uids in the form of subset files; all of them must be well-formed."""
    found = np.empty(frame.height, UID_DTYPE)
    for half, name in enumerate(("f0", "f1")):
        digits = pl.col(UID).str.slice(16 * half, 16)
        found[name] = frame.select(digits.str.to_integer(base=16, dtype=pl.UInt64)).to_series().to_numpy()
    return found


def mask_invalid_text(column: pa.Array) -> tuple[pa.Array, NDArray[np.bool_] | None]:
    """Returns a column of strings with null for values that are not UTF-8, and a mask of these rows, if any.

    Parquet readers do not check this.
    """
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    try:
        column.validate(full=True)
        return column, None
    except pa.ArrowInvalid:
        values = column.cast(pa.large_binary()).to_pylist()
        texts = [None if value is None else _decode(value) for value in values]
        broken = [text is None and value is not None for text, value in zip(texts, values, strict=True)]
        return pa.array(texts, pa.large_string()), np.array(broken)


def _is_missing(number: pl.Expr) -> pl.Expr:
    return number.is_null() | number.cast(pl.Float64).is_nan()


def _is_below(score: str, least: float | None) -> pl.Expr | None:
    """Compares as float32, the type of the scores, so that a least score of 0.3 keeps a stored 0.3."""
    return None if least is None else pl.col(SCORES[score]).cast(pl.Float32) < pl.lit(least, pl.Float32)


def _make_code(code: int) -> pl.Expr:
    return pl.lit(code, pl.UInt8)


def _decode(value: bytes) -> str | None:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return None
