"""`python -m pipelines.evaluate`, as Ray jobs are submitted."""

import sys

from pipelines.cli.app import main

main(["evaluate", *sys.argv[1:]])
