"""Finds the rows of a Parquet file of captions that may be about given samples."""

import contextlib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from io import BytesIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pyarrow.types import is_nested

from curation.captions.lookup import ATTRIBUTES, Row
from curation.sources.formats.fields import dump_metadata, read_text_leniently
from pipelines.inputs.text_columns import decode_dictionary, replace_view, to_text, to_values
from schemas.errors import ShardloomError, to_one_line
from schemas.records.identity import Identity
from schemas.records.quarantine import Rejected
from schemas.records.training_text import to_training_text
from schemas.storage.folder import Folder
from schemas.storage.parquet import NotParquet, Parquet, UnreadableParquet, iterate_batches, open_parquet

IDENTITY_COLUMNS = ("key", *ATTRIBUTES)
"""The columns that identify the sample that a row is about."""

MAX_BYTES = 256 << 20
"""Bytes of the captions of one shard: those of 10,000 images have 20 MB, the most with 25 kB for each image."""

Texts = tuple[str | Rejected | None, ...]
"""The texts of a row, one for each requested column; None for a column that the file doesn't have.

Training uses only the first, which is a `Rejected` where it is not usable text.
"""


def find_rows(
    folder: Folder, name: str, columns: Sequence[str], samples: Collection[Identity], shard: str | None
) -> list[Row[Texts]] | None:
    """Returns the rows that share an attribute with a sample, except those with a null in the first column.

    In a file of Shardloom's own, which is about the images of `shard`, a shared key is enough. Returns None when the
    file lacks the first column or all attributes. Raises `ShardloomError` when it can't be read, also if the rows take
    more than `MAX_BYTES` in memory.
    """
    path = folder.resolve_path(name)
    with convert_read_errors(path):
        parquet = open_parquet(folder.get_local_path(name) if folder.is_local else BytesIO(folder.read(name)), path)
        if not (ids := list_id_columns(parquet, columns)):
            return None
        wanted = collect_wanted(samples, ids, shard)
        rows: list[Row[Texts]] = []
        for batch in limit_bytes(_read_wanted(parquet, [*ids, *columns], wanted, columns[0]), path):
            rows += make_rows(batch, ids, columns, shard)
        return rows


@contextlib.contextmanager
def convert_read_errors(path: str) -> Iterator[None]:
    """Converts the errors of reading a file of captions into a `ShardloomError` of one line."""
    try:
        yield
    except (pa.ArrowException, NotParquet, OSError) as error:
        raise ShardloomError(f"cannot read captions in {path}: {to_one_line(error)}") from None


def list_id_columns(parquet: Parquet, columns: Sequence[str]) -> list[str]:
    """Returns the columns that identify samples; none when the file lacks the first of `columns` or all attributes.

    Raises `NotParquet` if it has several columns of one of these names.
    """
    names = parquet.schema.names
    present = [each for each in (*IDENTITY_COLUMNS, *columns) if each in names]
    for each in present:
        if names.count(each) > 1:
            raise NotParquet(f"it has several columns {each}")
    ids = [each for each in IDENTITY_COLUMNS if each in present and not is_nested(parquet.schema.field(each).type)]
    return ids if columns[0] in present and set(ATTRIBUTES) & set(ids) else []


def collect_wanted(samples: Collection[Identity], ids: Sequence[str], shard: str | None) -> dict[str, pa.Array]:
    """Returns the values of the samples by column. A key identifies them in a file about their shard alone."""
    return {
        each: pa.array(_collect_values(samples, each, shard), pa.large_string())
        for each in ids
        if each != "key" or shard is not None
    }


def find_places(batch: pa.RecordBatch, wanted: Mapping[str, pa.Array]) -> NDArray[np.int64]:
    """Returns the places in a batch of the rows that have one of the wanted values of a column."""
    found = [pc.is_in(to_text(batch[name]), values) for name, values in wanted.items()]
    return np.flatnonzero(np.logical_or.reduce([mask.to_numpy(zero_copy_only=False) for mask in found]))


def read_places(
    parquet: Parquet, group: int, columns: Sequence[str], places: NDArray[np.int64], caption: str
) -> Iterator[pa.RecordBatch]:
    """Yields these rows of a row group. A nested caption, which is no text, is emptied."""
    present = [name for name in dict.fromkeys(columns) if name in parquet.schema.names]
    start = 0
    for batch in iterate_batches(parquet, columns=present, groups=[group]):
        first, stop = np.searchsorted(places, [start, start + batch.num_rows])
        if first < stop:
            arrays = [
                _empty_nested(column) if name == caption and is_nested(column.type) else replace_view(column)
                for name, column in zip(batch.schema.names, batch.columns, strict=True)
            ]
            chosen = pa.RecordBatch.from_arrays(arrays, names=batch.schema.names)
            taken = chosen.take(pa.array(places[first:stop] - start))
            yield pa.RecordBatch.from_arrays(list(map(decode_dictionary, taken.columns)), names=taken.schema.names)
        start += batch.num_rows


def limit_bytes(batches: Iterable[pa.RecordBatch], path: str) -> Iterator[pa.RecordBatch]:
    """Yields batches. Raises `UnreadableParquet` when they take more than `MAX_BYTES` together."""
    size = 0
    for batch in batches:
        size += batch.nbytes
        if size > MAX_BYTES:
            raise UnreadableParquet(
                f"{path}: the captions of one shard take more than the {MAX_BYTES >> 20} MiB that are allowed"
            )
        yield batch


def make_rows(
    batch: pa.RecordBatch, ids: Sequence[str], columns: Sequence[str], shard: str | None
) -> Iterator[Row[Texts]]:
    """Yields the rows of a batch of `read_places`, except those with a null in the first column."""
    nothing = [None] * batch.num_rows
    values = {name: to_text(batch[name]).to_pylist() if name in ids else nothing for name in IDENTITY_COLUMNS}
    texts = [to_values(batch[name]) if name in batch.schema.names else nothing for name in columns]
    for at, (said, *others) in enumerate(zip(*texts, strict=True)):
        if (text := _try_training_text(said)) is not None:
            identity = Identity(shard, **{name: found[at] or None for name, found in values.items()})
            yield Row(identity, (text, *map(_to_remark, others)))


def _read_wanted(
    parquet: Parquet, columns: Sequence[str], wanted: Mapping[str, pa.Array], caption: str
) -> Iterator[pa.RecordBatch]:
    """Yields the rows that have a wanted value. Reads texts only in row groups with such rows."""
    for group in parquet.groups:
        found, start = [np.zeros(0, np.int64)], 0
        for batch in iterate_batches(parquet, columns=list(wanted), groups=[group]):
            found.append(find_places(batch, wanted) + start)
            start += batch.num_rows
        if (places := np.concatenate(found)).size:
            yield from read_places(parquet, group, columns, places, caption)


def _empty_nested(column: pa.Array) -> pa.Array:
    """Returns an empty list or object for each of a column, whose values may be of any size."""
    kind = pa.struct([]) if pa.types.is_struct(column.type) else pa.list_(pa.null())
    return pa.array([() if valid else None for valid in pc.is_valid(column).to_pylist()], kind)


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
    """Returns the samples' values of an attribute, sorted; of keys, only those in the shard.

    It leaves out values with a lone surrogate, which no file can have.
    """
    chosen = samples if name != "key" else [sample for sample in samples if sample.shard == shard]
    values = {value for sample in chosen if (value := getattr(sample, name))}
    return sorted(value for value in values if value.encode("utf-8", "ignore").decode() == value)
