"""Resolves the references of an index, which name tars as they were recorded, to where these tars are now."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from schemas.output_set.image_folders import locate_tar
from schemas.output_set.shard_index import REFERENCES

_NAME = REFERENCES.name


class StrayReference(ValueError):
    """Reports a reference to a place where no image can be: a folder that the manifest does not name, or no tar."""


def locate_references(table: pa.Table, folders: Mapping[str, str]) -> pa.Table:
    """Returns the index with the present path of each tar. `folders` has the present folders by the recorded ones.

    An index without references gets the column, with nulls. Raises `StrayReference`.
    """
    if _NAME not in table.schema.names:
        return table.append_column(REFERENCES, pa.nulls(table.num_rows, REFERENCES.type))
    column = table[_NAME].cast(REFERENCES.type).combine_chunks()
    inner = column.flatten()
    _check_endings(pc.unique(inner.field("ending")).to_pylist())
    tars = inner.field("tar").dictionary_encode(null_encoding="encode")
    present = pa.array([_locate(tar, folders) for tar in tars.dictionary.to_pylist()], pa.string())
    values = [present.take(tars.indices) if name == "tar" else inner.field(name) for name in _get_fields()]
    lengths = pc.fill_null(pc.list_value_length(column), 0).to_numpy()
    offsets = pa.array(np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32))
    located = pa.ListArray.from_arrays(
        offsets, pa.StructArray.from_arrays(values, _get_fields()), REFERENCES.type, mask=column.is_null()
    )
    return table.set_column(table.schema.get_field_index(_NAME), REFERENCES, located)


def locate_row(row: dict[str, Any], folders: Mapping[str, str]) -> dict[str, Any]:
    """Returns an index row with the present path of each of its tars, as `locate_references` does."""
    references = row.get(_NAME)
    if not references:
        return row
    _check_endings([reference["ending"] for reference in references])
    return row | {_NAME: [reference | {"tar": _locate(reference["tar"], folders)} for reference in references]}


def sum_image_bytes(table: pa.Table) -> pa.Array:
    """Returns the bytes of the images that each row of an index refers to."""
    column = table[_NAME].combine_chunks()
    totals = np.concatenate([[0], np.cumsum(pc.fill_null(column.flatten().field("size"), 0).to_numpy())])
    ends = np.cumsum(pc.fill_null(pc.list_value_length(column), 0).to_numpy())
    return pa.array(np.diff(totals[np.concatenate([[0], ends])]), pa.int64())


def _get_fields() -> list[str]:
    return [REFERENCES.type.value_type.field(at).name for at in range(REFERENCES.type.value_type.num_fields)]


def _locate(tar: Any, folders: Mapping[str, str]) -> str:
    place = locate_tar(tar, folders) if isinstance(tar, str) else None
    if place is None:
        raise StrayReference(f"it refers to {tar}, which is not a tar in a folder that its manifest names")
    return place


def _check_endings(endings: list[Any]) -> None:
    """Raises `StrayReference` for an ending that is more than one: it becomes a part of a member's name."""
    for ending in endings:
        if not isinstance(ending, str) or not (ending.isascii() and ending.isalnum()):
            raise StrayReference(f"it refers to an image with the ending {ending!r}")
