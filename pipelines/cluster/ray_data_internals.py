"""Wraps what Shardloom uses of Ray Data beyond its public interface, as `ray_internals` does for Ray."""

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


class BlockStatsCleaner(ExecutionCallback):  # type: ignore[misc]  # Ray is not typed
    """Drops the statistics of finished blocks.

    Ray Data keeps 2 kB for each block of each stage, for a summary that nobody reads: gigabytes in a run of a million
    chunks.
    """

    def on_execution_step(self, executor: StreamingExecutor) -> None:
        """Drops the statistics after each turn of the scheduling loop."""
        for op in executor._topology or ():
            if isinstance(op, MapOperator):
                op._output_blocks_stats.clear()


def set_up_ray_data() -> None:
    """Configures Ray Data for graphs of one-row blocks."""
    context = ray.data.DataContext.get_current()
    context.target_max_block_size = 1
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    context.custom_execution_callback_classes = [BlockStatsCleaner]
    warnings.filterwarnings("ignore", module=r"ray\.data")  # it warns of pools larger than a small input needs
    # The scheduling loop runs ten times a second, which takes more than 1 % of a laptop's cores. Workers already hold
    # their next chunk, so that a slower loop starves none of them.
    streaming_executor_state.WAIT_FOR_TASK_COMPLETION_TIMEOUT_S = SCHEDULING_SECONDS
    logging.getLogger("ray.data").setLevel(logging.ERROR)  # it logs pages of counters at every step of its loop
    if FuseOperators in (rules := get_physical_ruleset()):
        rules.remove(FuseOperators)  # it would fuse a reader and a worker of one core, and a shard into one task


def iterate_blocks(graph: ray.data.Dataset) -> Iterator[pa.Table]:
    """Yields a graph's results block by block: batching them takes threads, and three times the driver's CPU time."""
    for bundle in graph.iter_internal_ref_bundles():
        for block in bundle.block_refs:
            yield ray.get(block)
