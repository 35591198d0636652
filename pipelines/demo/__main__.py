"""Runs `shardloom demo` as `python -m pipelines.demo`."""

import sys

from pipelines.cli.app import main

main(["demo", *sys.argv[1:]])
