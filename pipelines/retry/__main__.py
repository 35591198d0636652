"""Runs `shardloom retry` as `python -m pipelines.retry`, the form in which Ray jobs are submitted."""

import sys

from pipelines.cli.app import main

main(["retry", *sys.argv[1:]])
