"""What Ray Data keeps of a graph's blocks: nothing, of those that are done.

It keeps 2 kB of each block of each stage for a summary that nobody reads: gigabytes, in a run of a million chunks.
"""

from ray.data._internal.execution.execution_callback import ExecutionCallback
from ray.data._internal.execution.operators.map_operator import MapOperator
from ray.data._internal.execution.streaming_executor import StreamingExecutor


class Forgetful(ExecutionCallback):  # type: ignore[misc]  # Ray is not typed
    """Drops the statistics of the blocks."""

    def on_execution_step(self, executor: StreamingExecutor) -> None:
        """After each turn of the loop."""
        for op in executor._topology or ():
            if isinstance(op, MapOperator):
                op._output_blocks_stats.clear()
