"""Runs `shardloom compare` as `python -m pipelines.compare`, the form in which Ray jobs are submitted."""

import sys

from pipelines.cli.app import main

main(["compare", *sys.argv[1:]])
