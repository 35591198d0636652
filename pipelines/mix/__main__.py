"""`python -m pipelines.mix`, as Ray jobs are submitted."""

import sys

from pipelines.cli.app import main

main(["mix", *sys.argv[1:]])
