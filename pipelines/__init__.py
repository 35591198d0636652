"""Runs work at scale: recipes, units of work, Ray Data graphs, sinks and the command line."""

import os
import runpy
from pathlib import Path

if os.name != "posix":
    raise SystemExit("error: Shardloom needs Linux or macOS: it locks files by fcntl; on Windows, run it in WSL")

# Loaded by its path and first, because the working folder may hold another package named `schemas`.
runpy.run_path(str(Path(__file__).parents[1] / "schemas" / "own_packages.py"))["check_imports"]()

from pipelines.cluster.ray_internals import disable_auto_connect  # noqa: E402

disable_auto_connect()

GRAPH_THREAD = "graph"  # names the thread that waits for Ray Data; it outlives a run only if that run stalled
