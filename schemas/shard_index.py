"""The index beside each training shard: what a trainer plans from without opening the shard (DESIGN.md §7).

`index/{shard}.parquet` has one row a sample, in the order of `data/{shard}.tar`: in a folder of its own, because globs
over data folders pick up side files. Offsets count bytes from the start of the tar to the member's first byte; they are
null for Parquet shards, whose samples are found by row.
"""

import pyarrow as pa

INDEX = pa.schema(
    [
        pa.field("key", pa.string(), nullable=False),
        pa.field("uid", pa.string()),
        pa.field(
            "source", pa.string(), nullable=False
        ),  # the data set that it came from: what mixtures are weighted by
        pa.field("image_offset", pa.int64()),
        pa.field("image_size", pa.int64(), nullable=False),
        pa.field("text_offset", pa.int64()),
        pa.field("text_size", pa.int64(), nullable=False),
        pa.field("json_offset", pa.int64()),
        pa.field("json_size", pa.int64(), nullable=False),
        pa.field("width", pa.int32(), nullable=False),
        pa.field("height", pa.int32(), nullable=False),
        pa.field("characters", pa.int32(), nullable=False),  # of the text; tokens need a tokenizer
        pa.field("tokens", pa.int32()),  # null until a tokenizer is named
        pa.field("images", pa.int32(), nullable=False),
        pa.field("sha256", pa.string(), nullable=False),  # of the image's bytes
    ]
)
