"""Reads of a Parquet file of captions the rows that may be about some samples."""

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from curation.captions.lookup import ATTRIBUTES, Row
from schemas.errors import ShardloomError, one_line
from schemas.records.identity import Identity
from schemas.storage.folder import Folder
from schemas.storage.parquet import NoParquet, check_sizes, open_parquet

if TYPE_CHECKING:
    import polars as pl

IDENTITY = ("key", *ATTRIBUTES)
"""The columns that tell which sample a row is about."""

Texts = tuple[str | None, ...]
"""What a row says: the text of each column that was asked for, None for one that the file doesn't have."""


def find_rows(
    folder: Folder, name: str, columns: Sequence[str], samples: Collection[Identity], shard: str | None
) -> list[Row[Texts]] | None:
    """Returns the rows that share an attribute with a sample, without those that have a null in the first column.

    In the file of a set of ours, which is about the images of `shard`, a row may share the key alone. Returns None when
    the file has no such column, or nothing that rows are found by. Raises `ShardloomError` when it can't be read.
    """
    import polars as pl  # here alone, so that what needs no search starts fast

    try:
        with folder.open(name) as opened:
            check_sizes(open_parquet(opened, folder.path(name)), [*IDENTITY, *columns])
        lazy = pl.scan_parquet(folder.source(name), glob=False)  # noqa: TID251  checked above
        schema = lazy.collect_schema()
        has = [each for each in IDENTITY if each in schema and _is_text_like(schema[each])]
        if columns[0] not in schema or not set(ATTRIBUTES) & set(has):
            return None
        lazy = lazy.select(
            *(pl.col(each).cast(pl.String).alias(f"text.{each}") for each in columns if each in schema),
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
    return [
        Row(
            Identity(shard, **{each: row.get(f"sample.{each}") or None for each in IDENTITY}),
            tuple(row.get(f"text.{each}") for each in columns),
        )
        for row in found.iter_rows(named=True)
    ]


def _values(samples: Collection[Identity], name: str, shard: str | None) -> list[str]:
    """The values of an attribute; of keys, those in the shard."""
    chosen = samples if name != "key" else [sample for sample in samples if sample.shard == shard]
    return sorted({value for sample in chosen if (value := getattr(sample, name))})


def _is_text_like(kind: "pl.DataType") -> bool:
    """Whether a column can be read as text: a hash may be stored as bytes, and then tells nothing."""
    return not kind.is_nested() and str(kind) != "Binary"


def _as_text(name: str, kind: "pl.DataType") -> "pl.Expr":
    """The column as text. Whole numbers stay whole: pandas makes floats of ids where one is missing."""
    import polars as pl

    column = pl.col(name)
    if kind.is_float():
        whole = column.cast(pl.Int64, strict=False).cast(pl.String)
        return pl.when(column == column.floor()).then(whole).otherwise(column.cast(pl.String))
    return column.cast(pl.String)
