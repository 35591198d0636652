"""Runs `shardloom render` as `python -m pipelines.render`, for `ray job submit`."""

import sys

from pipelines.cli.app import main

main(["render", *sys.argv[1:]])
