"""`python -m pipelines.verify`, as Ray jobs are submitted."""

import sys

from pipelines.cli.app import main

main(["verify", *sys.argv[1:]])
