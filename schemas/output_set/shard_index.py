"""Defines the index beside each training shard: a trainer plans from it without opening the shard (docs/design.md).

`index/{shard}.parquet` has one row per sample, in the order of the shard. It is in a folder of its own, because globs
over data folders match side files. All kinds of samples share one layout, so that a mixture of them is planned from one
table.

In a tar, one range read of `size` bytes from `offset` reads a sample with all its members and their headers; `members`
gives the place of each member's bytes in the tar. Samples of Parquet shards are found by row, and all three are null.
A set by reference has one more column, `references`, and no images among the members.
"""

from typing import Literal

import pyarrow as pa

from schemas.records.fingerprint import EngineFingerprint

SampleKind = Literal["captioned_image", "document", "text", "conversation"]
"""The kind of a sample: an image with its caption, a document of texts and images, a document without images, or a
conversation with roles.
"""

INDEX_SCHEMA = pa.schema(
    [
        pa.field("key", pa.string(), nullable=False),
        pa.field("uid", pa.string()),
        # the data set that it came from; mixtures are weighted by it
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
            "image_details",  # one per image: upright size in pixels, and the hash of the image's file
            pa.list_(pa.struct([("width", pa.int32()), ("height", pa.int32()), ("sha256", pa.string())])),
            nullable=False,
        ),
        pa.field("characters", pa.int32(), nullable=False),  # of all texts
        pa.field("tokens", pa.int32()),  # of all texts, each counted alone, without special tokens; null: not counted
        # The same for each part, in reading order; null for an image. An image's caption has an entry only if it is not
        # empty. Null as a whole: not counted.
        pa.field("part_tokens", pa.list_(pa.int32())),
        pa.field("roles", pa.list_(pa.string())),  # one per part of a conversation, else null
    ]
)

REFERENCES = pa.field(
    # Where the bytes of each image are in a tar outside of the set, in the images' order; null where they are members.
    # `tar` is an absolute path or a URL, in a folder that the manifest names.
    "references",
    pa.list_(pa.struct([("ending", pa.string()), ("tar", pa.string()), ("offset", pa.int64()), ("size", pa.int64())])),
)

BY_REFERENCE_SCHEMA = INDEX_SCHEMA.append(REFERENCES)
"""The index of a set by reference: captions, and images that stay in the tars that they came from."""

_TOKENIZER = b"tokenizer"  # metadata key


def index_schema(tokenizer: EngineFingerprint | None, by_reference: bool = False) -> pa.Schema:
    """Returns the schema of an index, with the tokenizer that counted its tokens in the metadata."""
    schema = BY_REFERENCE_SCHEMA if by_reference else INDEX_SCHEMA
    return schema if tokenizer is None else schema.with_metadata({_TOKENIZER: tokenizer.model_dump_json().encode()})


def get_tokenizer(schema: pa.Schema) -> EngineFingerprint | None:
    """Returns the tokenizer that counted an index's tokens; None if they were not counted.

    Raises `ValueError` if the metadata is damaged.
    """
    stored = (schema.metadata or {}).get(_TOKENIZER)
    return None if stored is None else EngineFingerprint.model_validate_json(stored)
