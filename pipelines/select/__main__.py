"""Runs `shardloom select` as `python -m pipelines.select`, for `ray job submit`."""

import sys

from pipelines.cli.app import main

main(["select", *sys.argv[1:]])
