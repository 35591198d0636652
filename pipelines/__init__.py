"""How work runs at scale: recipes, units of work, Ray Data graphs, sinks, the command line."""

import os
import runpy
from pathlib import Path

# By its path, and before all else: the working folder may have a `schemas` of its own.
runpy.run_path(str(Path(__file__).parents[1] / "schemas" / "own_packages.py"))["check_imports"]()

# Ray starts a cluster unasked when it is used without one, as by a thread of a run that has ended at a halt.
os.environ.setdefault("RAY_ENABLE_AUTO_CONNECT", "0")

GRAPH_THREAD = "graph"  # the thread that waits for Ray Data: alive after a run only if that run came to a halt
