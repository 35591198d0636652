"""Runs `shardloom explain` as `python -m pipelines.explain`, the form in which Ray jobs are submitted."""

import sys

from pipelines.cli.app import main

main(["explain", *sys.argv[1:]])
