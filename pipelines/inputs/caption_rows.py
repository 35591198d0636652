"""Finds the rows of a Parquet file of captions that may be about given samples."""

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

import pyarrow as pa

from curation.captions.lookup import ATTRIBUTES, Row
from curation.sources.formats.fields import dump_metadata, read_text_leniently
from pipelines.inputs.parquet_rows import convert_strings_to_bytes
from schemas.errors import ShardloomError, to_one_line
from schemas.records.identity import Identity
from schemas.records.quarantine import Rejected
from schemas.records.training_text import to_training_text
from schemas.storage.folder import Folder
from schemas.storage.parquet import NotParquet, check_sizes, iterate_batches, open_parquet

if TYPE_CHECKING:
    import polars as pl

IDENTITY_COLUMNS = ("key", *ATTRIBUTES)
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

    path = folder.resolve_path(name)
    used = [*IDENTITY_COLUMNS, *columns]
    try:
        with folder.open(name) as opened:
            check_sizes(open_parquet(opened, path), used)
        lazy = pl.scan_parquet(folder.get_local_source(name), glob=False)  # noqa: TID251  checked above
        try:
            found = _select_rows(lazy, columns, samples, shard)
        except pl.exceptions.ComputeError:  # a string that is not UTF-8, in any row; or a damaged file
            with folder.open(name) as opened:
                batches = iterate_batches(open_parquet(opened, path), columns=used)
                lazies = (pl.DataFrame(convert_strings_to_bytes(batch)).lazy() for batch in batches)
                parts = (_select_rows(lazy, columns, samples, shard) for lazy in lazies)
                frames = [part for part in parts if part is not None]
            found = pl.concat(frames) if frames else None
    except (pl.exceptions.PolarsError, pa.ArrowException, NotParquet, OSError) as error:
        raise ShardloomError(f"cannot read captions in {path}: {to_one_line(error)}") from None
    if found is None:
        return None
    rows: list[Row[Texts]] = []
    for row in found.iter_rows(named=True):
        said, *others = (row.get(f"text.{each}") for each in columns)
        if (text := _try_training_text(said)) is not None:
            ids = {each: read_text_leniently(row.get(f"sample.{each}"), each) or None for each in IDENTITY_COLUMNS}
            rows.append(Row(Identity(shard, **ids), (text, *map(_to_remark, others))))
    return rows


def _select_rows(
    lazy: "pl.LazyFrame", columns: Sequence[str], samples: Collection[Identity], shard: str | None
) -> "pl.DataFrame | None":
    """Returns the rows that `find_rows` asks for, as columns `text.NAME` and `sample.NAME`, or None like it."""
    import polars as pl

    schema = lazy.collect_schema()
    has = [each for each in IDENTITY_COLUMNS if each in schema and _is_text_like(schema[each])]
    if columns[0] not in schema or not set(ATTRIBUTES) & set(has):
        return None
    lazy = lazy.select(
        *(_make_value_expr(each, schema[each]).alias(f"text.{each}") for each in columns if each in schema),
        *(_make_text_expr(each, schema[each]).alias(f"sample.{each}") for each in has),
    )
    wanted = pl.any_horizontal(
        pl.col(f"sample.{each}").is_in(_collect_values(samples, each, shard, schema[each]))
        for each in has
        if each != "key" or shard is not None
    )
    return lazy.filter(wanted & pl.col(f"text.{columns[0]}").is_not_null()).collect()


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


def _collect_values(
    samples: Collection[Identity], name: str, shard: str | None, kind: "pl.DataType"
) -> list[str] | list[bytes]:
    """Returns the samples' values of an attribute, sorted; of keys, only those in the shard. Bytes for such columns."""
    chosen = samples if name != "key" else [sample for sample in samples if sample.shard == shard]
    values = sorted({value for sample in chosen if (value := getattr(sample, name))})
    return [value.encode() for value in values] if _is_binary(kind) else values


def _is_text_like(kind: "pl.DataType") -> bool:
    """Returns whether a column can be read as text."""
    return not kind.is_nested()


def _make_value_expr(name: str, kind: "pl.DataType") -> "pl.Expr":
    """Returns the column unchanged, but dates and times as text."""
    import polars as pl

    return pl.col(name).cast(pl.String) if kind.is_temporal() else pl.col(name)


def _make_text_expr(name: str, kind: "pl.DataType") -> "pl.Expr":
    """Returns the column as text. Whole floats become integers: pandas turns ids into floats where one is missing.

    Returns bytes unchanged: polars refuses a column in which some are not UTF-8.
    """
    import polars as pl

    column = pl.col(name)
    if _is_binary(kind):
        return column
    if kind.is_float() or kind.is_decimal():
        whole = column.cast(pl.Int64, strict=False).cast(pl.String)
        return pl.when(column == column.floor()).then(whole).otherwise(column.cast(pl.String))
    return column.cast(pl.String)


def _is_binary(kind: "pl.DataType") -> bool:
    return str(kind) == "Binary"
