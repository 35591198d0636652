"""How work runs at scale: recipes, units of work, Ray Data graphs, sinks, the command line."""

import os

# Ray starts a cluster unasked when it is used without one, as by a thread of a run that has ended at a halt.
os.environ.setdefault("RAY_ENABLE_AUTO_CONNECT", "0")

GRAPH_THREAD = "graph"  # the thread that waits for Ray Data: alive after a run only if that run came to a halt
