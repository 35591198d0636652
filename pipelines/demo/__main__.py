"""`python -m pipelines.demo`."""

import sys

from pipelines.cli import main

main(["demo", *sys.argv[1:]])
