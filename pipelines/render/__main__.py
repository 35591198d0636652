"""`python -m pipelines.render`, as Ray jobs are submitted."""

import sys

from pipelines.cli.app import main

main(["render", *sys.argv[1:]])
