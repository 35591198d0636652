"""Runs `shardloom ingest` as `python -m pipelines.ingest`, the form in which Ray jobs are submitted."""

import sys

from pipelines.cli.app import main

main(["ingest", *sys.argv[1:]])
