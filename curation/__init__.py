"""This package works on one record or one batch: decoding, engines, captions, filters, scores; and mixtures of sets.

It does not import Ray.
"""

import runpy
from pathlib import Path

# Run by its path and before any other import: the working folder may contain another package named `schemas`.
runpy.run_path(str(Path(__file__).parents[1] / "schemas" / "own_packages.py"))["check_imports"]()
