"""`python -m pipelines.annotate`, as Ray jobs are submitted."""

import sys

from pipelines.cli.app import main

main(["annotate", *sys.argv[1:]])
