"""Finds images whose bytes occur earlier in the input, over all shards, so that engines never see them.

A crawl has the same error page under thousands of URLs. Which image is kept depends on the input alone: it is the first
in the order of the shards' paths and of the samples in each.
"""

import hashlib

import polars as pl

from pipelines.cluster.runner import Runner
from pipelines.inputs.shards import ChosenSamples, InputShard
from schemas.layouts.datacomp import read_sample
from schemas.records.quarantine import Rejected
from schemas.tar.reader import TarReader


def find_repeated_keys(shards: list[InputShard], runner: Runner) -> dict[str, list[str]]:
    """Returns the keys to leave out, by shard. Reads all shards once; the driver holds about 100 bytes an image."""
    order = {shard.name: position for position, shard in enumerate(shards)}
    repeated = (
        pl.concat(runner.map(hash_shard_images, shards))
        .with_columns(position=pl.col("shard").replace_strict(order, return_dtype=pl.Int64))
        .sort("position", "row")
        .filter(~pl.col("sha256").is_first_distinct())
        .group_by("shard")
        .agg("key")
    )
    return dict(repeated.iter_rows())


def hash_shard_images(shard: InputShard) -> pl.DataFrame:
    """Returns a frame with shard, row, key and sha256 (32 bytes) of each readable image that is chosen in a shard."""
    folder, file_name = shard.split_path()
    rows: list[tuple[int, str, bytes]] = []
    with folder.open(file_name) as file:
        for position, sample in enumerate(ChosenSamples(shard, TarReader(file, hashing=False))):
            try:
                rows.append((position, sample.key, hashlib.sha256(read_sample(sample).image.data).digest()))
            except Rejected:
                continue  # the annotating pass records the reason
    frame = pl.DataFrame(rows, {"row": pl.Int64, "key": pl.String, "sha256": pl.Binary}, orient="row")
    return frame.with_columns(shard=pl.lit(shard.name))
