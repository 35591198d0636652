"""Columns are described as `datasets` itself describes them."""

import uuid
from typing import Any

import pyarrow as pa
import pytest
from datasets import Features

from schemas.layouts.datacomp import side_schema
from schemas.output_set.features import UnsupportedType, describe_columns
from schemas.output_set.shard_index import INDEX_SCHEMA
from schemas.records import captioned_image, document_storage
from schemas.records.annotation import annotation_schema
from schemas.records.quarantine import QUARANTINE_SCHEMA
from schemas.records.text_line import OCR_COLUMN

KINDS = [
    *(pa.bool_(), pa.int8(), pa.uint64(), pa.float16(), pa.float32(), pa.float64(), pa.string(), pa.large_string()),
    *(pa.binary(), pa.large_binary(), pa.binary(16), pa.null(), pa.date32(), pa.date64(), pa.time32("ms")),
    *(pa.time64("ns"), pa.timestamp("us"), pa.timestamp("us", "Europe/Paris"), pa.duration("s"), pa.decimal128(10, 2)),
    *(pa.string_view(), pa.list_(pa.list_(pa.float64())), pa.large_list(pa.int32()), pa.list_(pa.float32(), 8)),
    *(pa.struct([("name", pa.string()), ("dtype", pa.list_(pa.struct([("list", pa.int8())])))]),),
    *(pa.dictionary(pa.int8(), pa.string()), pa.list_(pa.dictionary(pa.int8(), pa.string()))),
]


@pytest.mark.parametrize(
    "schema",
    [
        *(captioned_image.PARQUET_SCHEMA, document_storage.PARQUET_SCHEMA, annotation_schema([OCR_COLUMN])),
        *(INDEX_SCHEMA, QUARANTINE_SCHEMA, side_schema(has_boxes=True)),
        pa.schema([(f"c{number}", kind) for number, kind in enumerate(KINDS)]),
    ],
    ids=lambda schema: schema.names[0],
)
def test_as_datasets_does(schema: pa.Schema) -> None:
    assert describe_columns(schema) == Features.from_arrow_schema(schema)._to_yaml_list()


def test_an_extension_is_what_it_stores() -> None:
    stored = pa.array([uuid.UUID(int=1).bytes], pa.uuid())
    assert describe_columns([pa.field("id", stored.type)]) == [{"name": "id", "dtype": "fixed_size_binary[16]"}]


@pytest.mark.parametrize("kind", [pa.map_(pa.string(), pa.int8()), pa.month_day_nano_interval(), pa.dense_union([])])
def test_what_datasets_cannot_have(kind: Any) -> None:
    for within in (kind, pa.list_(kind), pa.struct([("b", kind)])):
        with pytest.raises(UnsupportedType, match=r"^column (a|b|item|element) has the type "):
            describe_columns([pa.field("a", within)])
        with pytest.raises(ValueError, match=r"Arrow type"):
            Features.from_arrow_schema(pa.schema([("a", within)]))
