"""`python -m pipelines.shard`, as Ray jobs are submitted."""

import sys

from pipelines.cli.app import main

main(["shard", *sys.argv[1:]])
