"""Images whose bytes came before: found over all shards at once, so that an engine never sees them.

Error pages stand under thousands of URLs of a crawl. Which one is kept is a function of
the input alone: the first in the order of the shards' paths and of the samples in them.
"""

import hashlib

import polars as pl

from pipelines.cluster.runner import Runner
from pipelines.inputs.shards import InputShard
from schemas.layouts.datacomp import read_sample
from schemas.records.quarantine import Rejected
from schemas.tar.reader import TarReader


def repeated_keys(shards: list[InputShard], runner: Runner) -> dict[str, list[str]]:
    """Keys to leave out, by shard. Costs a pass over all shards and about 100 bytes an image on the driver."""
    order = {shard.name: position for position, shard in enumerate(shards)}
    repeated = (
        pl.concat(runner.map(image_hashes, shards))
        .with_columns(position=pl.col("shard").replace_strict(order, return_dtype=pl.Int64))
        .sort("position", "row")
        .filter(~pl.col("sha256").is_first_distinct())
        .group_by("shard")
        .agg("key")
    )
    return dict(repeated.iter_rows())


def image_hashes(shard: InputShard) -> pl.DataFrame:
    """shard, row, key and sha256 of each image in a shard."""
    folder, file_name = shard.folder()
    rows: list[tuple[int, str, bytes]] = []
    with folder.open(file_name) as file:
        for position, sample in enumerate(TarReader(file, hashing=False)):
            try:
                rows.append((position, sample.key, hashlib.sha256(read_sample(sample).image.data).digest()))
            except Rejected:
                continue  # the annotating pass gives it its reason
    frame = pl.DataFrame(rows, {"row": pl.Int64, "key": pl.String, "sha256": pl.Binary}, orient="row")
    return frame.with_columns(shard=pl.lit(shard.name))
