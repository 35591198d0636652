"""`python -m pipelines.select`, as Ray jobs are submitted."""

import sys

from pipelines.cli.app import main

main(["select", *sys.argv[1:]])
