"""Finds the rows of a Parquet file of captions that may be about given samples."""

import contextlib
from collections.abc import Collection, Iterator, Sequence
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from curation.captions.lookup import ATTRIBUTES, Row
from curation.sources.formats.fields import dump_metadata, read_text_leniently
from schemas.errors import ShardloomError, to_one_line
from schemas.records.identity import Identity
from schemas.records.quarantine import Rejected
from schemas.records.training_text import to_training_text
from schemas.storage.folder import Folder
from schemas.storage.parquet import NotParquet, check_sizes, open_parquet

if TYPE_CHECKING:
    import polars as pl

IDENTITY_COLUMNS = ("key", *ATTRIBUTES)
"""The columns that identify the sample that a row is about."""

ID_PREFIX = "sample."

Texts = tuple[str | Rejected | None, ...]
"""The texts of a row, one for each requested column; None for a column that the file doesn't have.

Training uses only the first, which is a `Rejected` where it is not usable text.
"""


def find_rows(
    folder: Folder, name: str, columns: Sequence[str], samples: Collection[Identity], shard: str | None
) -> list[Row[Texts]] | None:
    """Returns the rows that share an attribute with a sample, except those with a null in the first column.

    In a file of Shardloom's own, which is about the images of `shard`, a shared key is enough. Returns None when the
    file lacks the first column or all attributes. Raises `ShardloomError` when it can't be read.
    """
    with convert_read_errors(folder.resolve_path(name)):
        with folder.open(name) as opened:
            check_sizes(open_parquet(opened, folder.resolve_path(name)), [*IDENTITY_COLUMNS, *columns])
        frame = scan_rows(folder.get_local_source(name), columns)
        return None if frame is None else select_rows(frame, columns, samples, shard)


def scan_rows(source: str | Path | BytesIO, columns: Sequence[str], start: int = 0, rows: int | None = None) -> Any:
    """Returns a lazy polars frame of a file's rows from `start`: their texts as `text.NAME`, their ids as
    `sample.NAME`.

    Returns None when the file lacks the first column or all attributes. The caller has checked the file's sizes.
    """
    import polars as pl  # imported here, so that commands without a search start fast

    lazy = pl.scan_parquet(source, glob=False).slice(start, rows)  # noqa: TID251  checked by the caller
    schema = lazy.collect_schema()
    has = [each for each in IDENTITY_COLUMNS if each in schema and _is_text_like(schema[each])]
    if columns[0] not in schema or not set(ATTRIBUTES) & set(has):
        return None
    return lazy.select(
        *(_make_value_expr(each, schema[each]).alias(f"text.{each}") for each in columns if each in schema),
        *(_make_text_expr(each, schema[each]).alias(f"{ID_PREFIX}{each}") for each in has),
    )


def select_rows(
    frame: Any, columns: Sequence[str], samples: Collection[Identity], shard: str | None
) -> list[Row[Texts]]:
    """Returns the rows of `scan_rows` that share an attribute with a sample, except those without a first text."""
    import polars as pl

    names = [name for name in frame.collect_schema().names() if name.startswith(ID_PREFIX)]
    wanted = pl.any_horizontal(
        pl.col(name).is_in(_collect_values(samples, each, shard))
        for name in names
        if (each := name.removeprefix(ID_PREFIX)) != "key" or shard is not None
    )
    found = frame.filter(wanted & pl.col(f"text.{columns[0]}").is_not_null()).collect()
    rows: list[Row[Texts]] = []
    for row in found.iter_rows(named=True):
        said, *others = (row.get(f"text.{each}") for each in columns)
        if (text := _try_training_text(said)) is not None:
            identity = Identity(shard, **{each: row.get(f"{ID_PREFIX}{each}") or None for each in IDENTITY_COLUMNS})
            rows.append(Row(identity, (text, *map(_to_remark, others))))
    return rows


@contextlib.contextmanager
def convert_read_errors(path: str) -> Iterator[None]:
    """Converts the errors of reading a file of captions into a `ShardloomError` of one line."""
    import polars as pl

    try:
        yield
    except (pl.exceptions.PolarsError, NotParquet, OSError) as error:
        raise ShardloomError(f"cannot read captions in {path}: {to_one_line(error)}") from None


def _try_training_text(value: object) -> str | Rejected | None:
    """Returns the text unchanged, or the `Rejected` that says why it can't be used; None for no text."""
    try:
        return to_training_text(value)
    except Rejected as fault:
        return fault


def _to_remark(value: object) -> str | None:
    """Returns the value of a further column: text unchanged, anything else as JSON."""
    if isinstance(value, str | bytes | None):
        return read_text_leniently(value, "it")
    return dump_metadata(value if isinstance(value, dict) else {"value": value})


def _collect_values(samples: Collection[Identity], name: str, shard: str | None) -> list[str]:
    """Returns the samples' values of an attribute, sorted; of keys, only those in the shard."""
    chosen = samples if name != "key" else [sample for sample in samples if sample.shard == shard]
    return sorted({value for sample in chosen if (value := getattr(sample, name))})


def _is_text_like(kind: "pl.DataType") -> bool:
    """Returns whether a column can be read as text."""
    return not kind.is_nested()


def _make_value_expr(name: str, kind: "pl.DataType") -> "pl.Expr":
    """Returns the column unchanged, but dates and times as text."""
    import polars as pl

    return pl.col(name).cast(pl.String) if kind.is_temporal() else pl.col(name)


def _make_text_expr(name: str, kind: "pl.DataType") -> "pl.Expr":
    """Returns the column as text. Whole floats become integers: pandas turns ids into floats where one is missing."""
    import polars as pl

    column = pl.col(name)
    if kind.is_float() or kind.is_decimal():
        whole = column.cast(pl.Int64, strict=False).cast(pl.String)
        return pl.when(column == column.floor()).then(whole).otherwise(column.cast(pl.String))
    return column.cast(pl.String, strict=str(kind) != "Binary")  # a hash may be stored as bytes, which match nothing
