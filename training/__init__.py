"""This package trains a resampler LMM: data, model, objective, loop and checkpoints (docs/design.md).

It uses neither Ray nor `pipelines`: it reads training shards through their indexes, in the order that
`curation.mixture` plans. `training/train.py` is the command line, and `training/loop.py` runs a training from start
to end.
"""

import runpy
from pathlib import Path

# Run by its path and before any import, because the working folder may contain another package named `schemas`.
runpy.run_path(str(Path(__file__).parents[1] / "schemas" / "own_packages.py"))["check_imports"]()
