"""Images whose bytes came before: found over all shards at once, so that an engine never sees them.

Error pages stand under thousands of URLs of a crawl (reference: formats.md trap 12). Which one is kept is a function of
the input alone: the first in the order of the shards' paths and of the samples in them.
"""

import hashlib
from collections.abc import Iterator

import polars as pl
import pyarrow as pa
import ray
import ray.data

from pipelines.inputs import InputShard
from pipelines.shard_reader import shard_row
from schemas.datacomp import read_sample
from schemas.quarantine import Rejected
from schemas.tar_reader import TarReader


def repeated_keys(shards: list[InputShard]) -> dict[str, list[str]]:
    """Keys to leave out, by shard. Costs a pass over all shards and about 100 bytes an image on the driver."""
    hashes = (
        ray.data.from_arrow([shard_row(shard) for shard in shards])
        .map_batches(_hashes, batch_size=1, batch_format="pyarrow", num_cpus=1)
        .iter_batches(batch_size=None, batch_format="pyarrow")
    )
    order = {shard.name: position for position, shard in enumerate(shards)}
    images = pl.concat([pl.DataFrame(pl.from_arrow(table)) for table in hashes])
    repeated = (
        images.with_columns(position=pl.col("shard").replace_strict(order, return_dtype=pl.Int64))
        .sort("position", "row")
        .filter(~pl.col("sha256").is_first_distinct())
        .group_by("shard")
        .agg("key")
    )
    return dict(repeated.iter_rows())


def _hashes(row: pa.Table) -> Iterator[pa.Table]:
    shard = InputShard(row["name"][0].as_py(), row["path"][0].as_py())
    folder, file_name = shard.folder()
    keys, rows, digests = [], [], []
    with folder.open(file_name) as file:
        for position, sample in enumerate(TarReader(file, hashing=False)):
            try:
                image = read_sample(sample).image
            except Rejected:
                continue
            keys.append(sample.key)
            rows.append(position)
            digests.append(hashlib.sha256(image.data).digest())
    table = {"shard": pa.array([shard.name] * len(keys), pa.string()), "row": pa.array(rows, pa.int64())}
    yield pa.table(table | {"key": pa.array(keys, pa.string()), "sha256": pa.array(digests, pa.binary())})
