"""Runs `shardloom download` as `python -m pipelines.download`, the form in which Ray jobs are submitted."""

import sys

from pipelines.cli.app import main

main(["download", *sys.argv[1:]])
