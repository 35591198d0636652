"""Runs `shardloom mix` as `python -m pipelines.mix`, for `ray job submit`."""

import sys

from pipelines.cli.app import main

main(["mix", *sys.argv[1:]])
