"""The trainer of a resampler LMM: data, model, objective, loop, checkpoints (docs/design.md).

Knows no Ray and nothing of `pipelines`: it reads training shards by their indexes, in the order that
`curation.mixture` plans. `training/train.py` is the way in, `training/loop.py` the main job from its start to its end.
"""

import runpy
from pathlib import Path

# By its path, and before all else: the working folder may have a `schemas` of its own.
runpy.run_path(str(Path(__file__).parents[1] / "schemas" / "own_packages.py"))["check_imports"]()
