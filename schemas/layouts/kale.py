"""Defines the layout of BLIP3-KALE: a URL and a knowledge-augmented caption in each row (docs/formats.md §3).

Of the published columns only `caption` and `url` are known for certain. `cogvlm_caption` has the name that the dense
caption has in BLIP3-GROUNDING; the others say which image the caption is of.
"""

import pyarrow as pa

LAYOUT_VERSION = "1"  # raised with every change of the bytes that an annotation renders to


def kale_schema(source_revision: str, caption: str) -> pa.Schema:
    """Returns the Arrow schema of the captions of this name, rendered from the annotations of this revision."""
    return pa.schema(
        [
            pa.field("uid", pa.string()),
            pa.field("url", pa.string()),
            pa.field("key", pa.string(), nullable=False),
            pa.field("sha256", pa.string(), nullable=False),
            pa.field("width", pa.int32(), nullable=False),
            pa.field("height", pa.int32(), nullable=False),
            pa.field("alt_text", pa.string(), nullable=False),
            pa.field("cogvlm_caption", pa.string()),
            pa.field("caption", pa.string(), nullable=False),
        ],
        metadata={"layout_version": LAYOUT_VERSION, "base_caption": caption, "source_revision": source_revision},
    )
