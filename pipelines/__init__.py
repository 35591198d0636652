"""How work runs at scale: recipes, units of work, Ray Data graphs, sinks, the command line."""

from pipelines.cluster.ray_internals import never_start_unasked

never_start_unasked()

GRAPH_THREAD = "graph"  # the thread that waits for Ray Data: alive after a run only if that run came to a halt
