"""Defines a row of an annotation set: an image, by shard and key and without its bytes, and what the engines found."""

import pyarrow as pa

from schemas.records.failure import FAILURES_COLUMN

IMAGE_COLUMNS: list[pa.Field] = [
    pa.field("uid", pa.string()),  # DataComp's 32 hex digits; data sets are joined on it
    pa.field("url", pa.string()),
    pa.field("key", pa.string(), nullable=False),  # unique in its shard only; never join on it across shards
    pa.field("caption", pa.string(), nullable=False),  # the alt text, unchanged; empty if there is none
    pa.field("sha256", pa.string(), nullable=False),  # of the stored image bytes
    pa.field("width", pa.int32(), nullable=False),  # pixels of the decoded image, EXIF orientation applied
    pa.field("height", pa.int32(), nullable=False),
]


def annotation_schema(engine_columns: list[pa.Field]) -> pa.Schema:
    """Returns the Arrow schema of an annotation set: the image's columns, one column per engine, and the failures."""
    return pa.schema([*IMAGE_COLUMNS, *engine_columns, FAILURES_COLUMN])
