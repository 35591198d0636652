"""Describes columns as Hugging Face `datasets` does in the YAML of a dataset card (`Features._to_yaml_list`)."""

from collections.abc import Iterable
from typing import Any

import pyarrow as pa

IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
"""The type that `datasets` shows as a picture."""

_NAMES = {
    "halffloat": "float16",
    "float": "float32",
    "double": "float64",
    "date32[day]": "date32",
    "date64[ms]": "date64",
}
"""The names of types that Arrow calls by other names."""


class UnsupportedType(ValueError):
    """Reports a column that `datasets` cannot read, whatever a card says about it."""


def describe_columns(fields: Iterable[pa.Field]) -> list[dict[str, Any]]:
    """Returns the features of a schema's columns, or of a struct's fields. Raises `UnsupportedType`."""
    return [{"name": field.name} | _describe_type(field) for field in fields]


def decode_dictionary(kind: pa.DataType) -> pa.DataType:
    """Returns the type of a column's values, which may be stored as Arrow dictionaries or by an extension of Arrow."""
    while pa.types.is_dictionary(kind) or isinstance(kind, pa.BaseExtensionType):
        kind = kind.value_type if pa.types.is_dictionary(kind) else kind.storage_type
    return kind


def _describe_type(field: pa.Field) -> dict[str, Any]:
    kind = decode_dictionary(field.type)
    if kind == IMAGE:
        return {"dtype": "image"}
    if pa.types.is_struct(kind):
        return {"struct": describe_columns(kind)}
    if pa.types.is_fixed_size_list(kind):
        return {"list": _describe_items(kind), "length": kind.list_size}
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return {"list" if pa.types.is_list(kind) else "large_list": _describe_items(kind)}
    if pa.types.is_nested(kind) or pa.types.is_interval(kind):
        raise UnsupportedType(f"column {field.name} has the type {kind}")
    return {"dtype": _NAMES.get(str(kind), str(kind))}


def _describe_items(kind: pa.DataType) -> Any:
    """Returns the feature of a list's items, in the short form of a single value or of a struct."""
    feature = _describe_type(kind.value_field)
    (form,) = feature if len(feature) == 1 else ("",)
    return feature[form] if form in ("dtype", "struct") else feature
