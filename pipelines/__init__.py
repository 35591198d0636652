"""How work runs at scale: recipes, units of work, Ray Data graphs, sinks, the command line."""

import runpy
from pathlib import Path

# By its path, and before all else: the working folder may have a `schemas` of its own.
runpy.run_path(str(Path(__file__).parents[1] / "schemas" / "own_packages.py"))["check_imports"]()

from pipelines.cluster.ray_internals import never_start_unasked  # noqa: E402

never_start_unasked()

GRAPH_THREAD = "graph"  # the thread that waits for Ray Data: alive after a run only if that run came to a halt
