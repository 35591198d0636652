"""Runs `shardloom stats` as `python -m pipelines.stats`, the form in which Ray jobs are submitted."""

import sys

from pipelines.cli.app import main

main(["stats", *sys.argv[1:]])
