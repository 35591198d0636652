"""Runs `shardloom verify` as `python -m pipelines.verify`, the form in which Ray jobs are submitted."""

import sys

from pipelines.cli.app import main

main(["verify", *sys.argv[1:]])
