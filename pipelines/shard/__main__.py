"""Runs `shardloom shard` as `python -m pipelines.shard`, for `ray job submit`."""

import sys

from pipelines.cli.app import main

main(["shard", *sys.argv[1:]])
