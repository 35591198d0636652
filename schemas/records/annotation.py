"""One row of an annotation set: an image of a shard, by name and not by bytes, with what the engines saw in it."""

import pyarrow as pa

from schemas.records.failure import FAILURES

IMAGE_COLUMNS: list[pa.Field] = [
    pa.field("uid", pa.string()),  # DataComp's 32 hex digits: what data sets are joined on
    pa.field("url", pa.string()),
    pa.field("key", pa.string(), nullable=False),  # unique in its shard only; never joined on across shards
    pa.field("caption", pa.string(), nullable=False),  # the alt text as it came; empty when there is none
    pa.field("sha256", pa.string(), nullable=False),  # of the stored image bytes
    pa.field("width", pa.int32(), nullable=False),  # pixels of the decoded image, EXIF orientation applied
    pa.field("height", pa.int32(), nullable=False),
]


def annotation_schema(engine_columns: list[pa.Field]) -> pa.Schema:
    """The Arrow schema of an annotation set: the image's columns, one for each engine that ran, and what failed."""
    return pa.schema([*IMAGE_COLUMNS, *engine_columns, FAILURES])
