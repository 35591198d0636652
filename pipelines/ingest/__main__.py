"""`python -m pipelines.ingest`, as Ray jobs are submitted."""

import sys

from pipelines.cli.app import main

main(["ingest", *sys.argv[1:]])
