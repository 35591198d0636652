"""Runs `shardloom card` as `python -m pipelines.card`, the form in which Ray jobs are submitted."""

import sys

from pipelines.cli.app import main

main(["card", *sys.argv[1:]])
