"""Runs `shardloom evaluate` as `python -m pipelines.evaluate`, the form in which Ray jobs are submitted."""

import sys

from pipelines.cli.app import main

main(["evaluate", *sys.argv[1:]])
