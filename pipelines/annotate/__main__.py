"""Runs `python -m pipelines.annotate`, the form in which a Ray job is submitted."""

import sys

from pipelines.cli.app import main

main(["annotate", *sys.argv[1:]])
