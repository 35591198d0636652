"""Converts columns of Parquet files, of whatever type, to texts and to Python objects."""

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow.types import is_nested

from pipelines.inputs.parquet_rows import to_python_rows
from schemas.records.quarantine import Rejected

_STRING = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)
_BINARY = (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_binary_view, pa.types.is_fixed_size_binary)


def to_text(column: pa.Array) -> pa.Array:
    """Returns a column as text, with null for bytes that are not UTF-8. Raises Arrow's errors for lists and structs.

    Whole floats become integers: pandas turns ids into floats where one is missing.
    """
    column = _simplify(column)
    kind = column.type
    if pa.types.is_floating(kind):
        column = column.cast(pa.float64())
        is_whole = pc.and_(pc.equal(column, pc.floor(column)), pc.less(pc.abs(column), 2.0**63))
        whole = pc.if_else(is_whole, column, None).cast(pa.int64()).cast(pa.large_string())
        return pc.if_else(is_whole, whole, column.cast(pa.large_string()))
    if pa.types.is_decimal(kind):
        return pc.replace_substring_regex(column.cast(pa.large_string()), r"\.0+$", "")
    if not pa.types.is_large_binary(kind):
        return column.cast(pa.large_string())
    try:
        return column.cast(pa.large_string())
    except pa.ArrowInvalid:  # a hash may be stored as bytes, which match nothing
        return pa.array(map(_try_decode, column.to_pylist()), pa.large_string())


def replace_view(column: pa.Array) -> pa.Array:
    """Returns a column of a view type as the plain type, because Arrow can take no single rows of views."""
    if pa.types.is_string_view(column.type):
        return column.cast(pa.large_string())
    return column.cast(pa.large_binary()) if pa.types.is_binary_view(column.type) else column


def decode_dictionary(column: pa.Array) -> pa.Array:
    """Returns a column with its values in place of indices into a dictionary, so that its size is what they take."""
    return column.dictionary_decode() if pa.types.is_dictionary(column.type) else column


def _simplify(column: pa.Array) -> pa.Array:
    """Returns a column of fewer types: text as bytes, which may not be UTF-8, and dates and times as text, in UTC."""
    if isinstance(column, pa.ExtensionArray):
        column = column.storage
    column = decode_dictionary(column)
    kind = column.type
    if any(is_kind(kind) for is_kind in (*_STRING, *_BINARY)):
        return column.cast(pa.large_binary())
    if pa.types.is_timestamp(kind):
        column = column.cast(pa.timestamp(kind.unit))
    if pa.types.is_temporal(kind) and not pa.types.is_interval(kind):
        return column.cast(pa.string()).cast(pa.large_binary())
    return column


def _is_binary(kind: pa.DataType) -> bool:
    """Returns whether values of a type are bytes, also in a dictionary or an extension type."""
    if isinstance(kind, pa.BaseExtensionType):
        return _is_binary(kind.storage_type)
    if pa.types.is_dictionary(kind):
        return _is_binary(kind.value_type)
    return any(is_kind(kind) for is_kind in _BINARY)


def _try_decode(value: bytes | None) -> str | None:
    try:
        return None if value is None else value.decode()
    except UnicodeDecodeError:
        return None


def to_values(column: pa.Array) -> list[object]:
    """Returns the values as Python objects: text as `bytes` if it is not UTF-8, None for a list that is too long."""
    if is_nested(column.type):
        rows = to_python_rows(pa.RecordBatch.from_arrays([column], ["value"]))
        return [None if isinstance(row, Rejected) else row["value"] for row in rows]
    found = _simplify(column)
    is_bytes = pa.types.is_large_binary(found.type) and not _is_binary(column.type)
    return [_try_decode(value) or value for value in found.to_pylist()] if is_bytes else list(found.to_pylist())
