"""Defines the layout of LLaVA's conversations as Parquet: one question about an image and its answer in each row."""

import pyarrow as pa

LAYOUT_VERSION = "1"  # raised with every change of the bytes that an annotation renders to
IMAGE_MARKER = "<image>"
HUMAN, MODEL = "human", "gpt"

TURN_TYPE = pa.struct([pa.field("from", pa.string(), nullable=False), pa.field("value", pa.string(), nullable=False)])
"""The Arrow type of a turn: who says what."""


def llava_schema(source_revision: str, caption: str) -> pa.Schema:
    """Returns the Arrow schema of conversations whose answers are the captions of this name.

    `id` is the image's uid and `image` its URL.
    """
    return pa.schema(
        [
            pa.field("id", pa.string()),
            pa.field("image", pa.string(), nullable=False),
            pa.field("key", pa.string(), nullable=False),
            pa.field("sha256", pa.string(), nullable=False),
            pa.field("conversations", pa.list_(pa.field("item", TURN_TYPE, nullable=False)), nullable=False),
        ],
        metadata={"layout_version": LAYOUT_VERSION, "base_caption": caption, "source_revision": source_revision},
    )
