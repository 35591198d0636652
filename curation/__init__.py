"""What is done to one record or one batch: decoding, engines, captions, filters, quality; and mixtures of sets.

Knows no Ray.
"""

import runpy
from pathlib import Path

# By its path, and before all else: the working folder may have a `schemas` of its own.
runpy.run_path(str(Path(__file__).parents[1] / "schemas" / "own_packages.py"))["check_imports"]()
