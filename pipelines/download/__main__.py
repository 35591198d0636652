"""`python -m pipelines.download`, as Ray jobs are submitted."""

import sys

from pipelines.cli.app import main

main(["download", *sys.argv[1:]])
