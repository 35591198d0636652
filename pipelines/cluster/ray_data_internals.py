"""What Shardloom uses of Ray Data beyond its public interface, as `ray_internals` does of Ray."""

import logging
import warnings
from collections.abc import Iterator

import pyarrow as pa
import ray
import ray.data
from ray.data._internal.execution import streaming_executor_state
from ray.data._internal.execution.execution_callback import ExecutionCallback
from ray.data._internal.execution.operators.map_operator import MapOperator
from ray.data._internal.execution.streaming_executor import StreamingExecutor
from ray.data._internal.logical.optimizers import get_physical_ruleset
from ray.data._internal.logical.rules import FuseOperators

SCHEDULING_SECONDS = 0.3


class Forgetful(ExecutionCallback):  # type: ignore[misc]  # Ray is not typed
    """Drops the statistics of blocks that are done.

    Ray Data keeps 2 kB of each block of each stage for a summary that nobody reads: gigabytes, in a run of a million
    chunks.
    """

    def on_execution_step(self, executor: StreamingExecutor) -> None:
        """Drops them after each turn of the loop."""
        for op in executor._topology or ():
            if isinstance(op, MapOperator):
                op._output_blocks_stats.clear()


def set_up_ray_data() -> None:
    """Sets Ray Data up for graphs of one-row blocks."""
    context = ray.data.DataContext.get_current()
    context.target_max_block_size = 1
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    context.custom_execution_callback_classes = [Forgetful]
    warnings.filterwarnings("ignore", module=r"ray\.data")  # of pools larger than a small input needs
    # Its loop looks at everything ten times a second, which costs a laptop more than one percent of its cores. Workers
    # hold the next chunk already, so that looking less often starves none of them.
    streaming_executor_state.WAIT_FOR_TASK_COMPLETION_TIMEOUT_S = SCHEDULING_SECONDS
    logging.getLogger("ray.data").setLevel(logging.ERROR)  # it logs pages of counters at every step of its loop
    if FuseOperators in (rules := get_physical_ruleset()):
        rules.remove(FuseOperators)  # one reader and one worker of a core would be one stage, and a shard one task


def iterate_blocks(graph: ray.data.Dataset) -> Iterator[pa.Table]:
    """Yields a graph's results, each block by itself: batching them takes threads, and thrice the driver's time."""
    for bundle in graph.iter_internal_ref_bundles():
        for block in bundle.block_refs:
            yield ray.get(block)
