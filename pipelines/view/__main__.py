"""Runs `shardloom view` as `python -m pipelines.view`, the form in which Ray jobs are submitted."""

import sys

from pipelines.cli.app import main

main(["view", *sys.argv[1:]])
