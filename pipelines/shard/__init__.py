"""Joins image shards with captions into training shards."""

from pipelines.shard.run import shard as shard
