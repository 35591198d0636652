"""The index beside each training shard: what a trainer plans from without opening the shard (docs/design.md).

`index/{shard}.parquet` has one row a sample, in the order of the shard: in a folder of its own, because globs over data
folders pick up side files. One layout serves all kinds of samples, so that a mixture of them is planned from one table.

In a tar, a sample is read by one range read of `size` bytes from `offset`, which holds all its members with their
headers; `members` says where in the tar each one's bytes lie. Samples of Parquet shards are found by row, and all three
are null.
"""

from typing import Literal

import pyarrow as pa

from schemas.records.fingerprint import EngineFingerprint

Kind = Literal["captioned_image", "document", "text", "conversation"]
"""What a sample is: an image with its caption, texts and images in turn, a document without images, or one with roles.
"""

INDEX = pa.schema(
    [
        pa.field("key", pa.string(), nullable=False),
        pa.field("uid", pa.string()),
        # the data set that it came from: what mixtures are weighted by
        pa.field("source", pa.string(), nullable=False),
        pa.field("kind", pa.string(), nullable=False),
        pa.field("offset", pa.int64()),  # bytes from the start of the tar to the sample's first header
        pa.field("size", pa.int64()),  # bytes from there to the end of its last member's padding
        pa.field(
            "members",  # in their order in the tar
            pa.list_(pa.struct([("ending", pa.string()), ("offset", pa.int64()), ("size", pa.int64())])),
        ),
        pa.field("images", pa.int32(), nullable=False),
        pa.field(
            "image_details",  # one an image; pixels, upright, and the hash of the image's file
            pa.list_(pa.struct([("width", pa.int32()), ("height", pa.int32()), ("sha256", pa.string())])),
            nullable=False,
        ),
        pa.field("characters", pa.int32(), nullable=False),  # of all texts
        pa.field("tokens", pa.int32()),  # of all texts, each by itself and without special tokens; null: not counted
        # the same of each part, in the order in which it is read; null for an image, and of an image's caption only
        # where there is one. Null as a whole: not counted
        pa.field("part_tokens", pa.list_(pa.int32())),
        pa.field("roles", pa.list_(pa.string())),  # of each part of a conversation, else null
    ]
)

_TOKENIZER = b"tokenizer"  # metadata key


def index_schema(tokenizer: EngineFingerprint | None) -> pa.Schema:
    """The schema of an index, which says by which tokenizer its tokens were counted, if they were."""
    return INDEX if tokenizer is None else INDEX.with_metadata({_TOKENIZER: tokenizer.model_dump_json().encode()})


def tokenizer_of(schema: pa.Schema) -> EngineFingerprint | None:
    """The tokenizer by which an index's tokens were counted. ValueError: the metadata is not what was written."""
    told = (schema.metadata or {}).get(_TOKENIZER)
    return None if told is None else EngineFingerprint.model_validate_json(told)
