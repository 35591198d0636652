"""`python -m pipelines.stats`, as Ray jobs are submitted."""

import sys

from pipelines.cli.app import main

main(["stats", *sys.argv[1:]])
