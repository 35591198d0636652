"""Finds the rows of a Parquet file of captions that may be about given samples."""

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from curation.captions.lookup import ATTRIBUTES, Row
from curation.sources.formats.fields import as_json, lenient_text
from schemas.errors import ShardloomError, one_line
from schemas.records.identity import Identity
from schemas.records.quarantine import Rejected
from schemas.records.training_text import training_text
from schemas.storage.folder import Folder
from schemas.storage.parquet import NoParquet, check_sizes, open_parquet

if TYPE_CHECKING:
    import polars as pl

IDENTITY = ("key", *ATTRIBUTES)
"""The columns that identify the sample that a row is about."""

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
    import polars as pl  # imported here, so that commands without a search start fast

    try:
        with folder.open(name) as opened:
            check_sizes(open_parquet(opened, folder.path(name)), [*IDENTITY, *columns])
        lazy = pl.scan_parquet(folder.source(name), glob=False)  # noqa: TID251  checked above
        schema = lazy.collect_schema()
        has = [each for each in IDENTITY if each in schema and _is_text_like(schema[each])]
        if columns[0] not in schema or not set(ATTRIBUTES) & set(has):
            return None
        lazy = lazy.select(
            *(_as_value(each, schema[each]).alias(f"text.{each}") for each in columns if each in schema),
            *(_as_text(each, schema[each]).alias(f"sample.{each}") for each in has),
        )
        wanted = pl.any_horizontal(
            pl.col(f"sample.{each}").is_in(_values(samples, each, shard))
            for each in has
            if each != "key" or shard is not None
        )
        found = lazy.filter(wanted & pl.col(f"text.{columns[0]}").is_not_null()).collect()
    except (pl.exceptions.PolarsError, NoParquet, OSError) as error:
        raise ShardloomError(f"cannot read captions in {folder.path(name)}: {one_line(error)}") from None
    rows: list[Row[Texts]] = []
    for row in found.iter_rows(named=True):
        said, *others = (row.get(f"text.{each}") for each in columns)
        if (text := _trained(said)) is not None:
            identity = Identity(shard, **{each: row.get(f"sample.{each}") or None for each in IDENTITY})
            rows.append(Row(identity, (text, *map(_remark, others))))
    return rows


def _trained(value: object) -> str | Rejected | None:
    """Returns the text unchanged, or the `Rejected` that says why it can't be used; None for no text."""
    try:
        return training_text(value)
    except Rejected as fault:
        return fault


def _remark(value: object) -> str | None:
    """Returns the value of a further column: text unchanged, anything else as JSON."""
    if isinstance(value, str | bytes | None):
        return lenient_text(value, "it")
    return as_json(value if isinstance(value, dict) else {"value": value})


def _values(samples: Collection[Identity], name: str, shard: str | None) -> list[str]:
    """Returns the samples' values of an attribute, sorted; of keys, only those in the shard."""
    chosen = samples if name != "key" else [sample for sample in samples if sample.shard == shard]
    return sorted({value for sample in chosen if (value := getattr(sample, name))})


def _is_text_like(kind: "pl.DataType") -> bool:
    """Returns whether a column can be read as text."""
    return not kind.is_nested()


def _as_value(name: str, kind: "pl.DataType") -> "pl.Expr":
    """Returns the column unchanged, but dates and times as text."""
    import polars as pl

    return pl.col(name).cast(pl.String) if kind.is_temporal() else pl.col(name)


def _as_text(name: str, kind: "pl.DataType") -> "pl.Expr":
    """Returns the column as text. Whole floats become integers: pandas turns ids into floats where one is missing."""
    import polars as pl

    column = pl.col(name)
    if kind.is_float() or kind.is_decimal():
        whole = column.cast(pl.Int64, strict=False).cast(pl.String)
        return pl.when(column == column.floor()).then(whole).otherwise(column.cast(pl.String))
    return column.cast(pl.String, strict=str(kind) != "Binary")  # a hash may be stored as bytes, which match nothing
