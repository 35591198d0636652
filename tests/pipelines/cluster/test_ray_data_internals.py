"""What is held of a graph's blocks while it runs."""

from typing import ClassVar

import pyarrow as pa
import pytest
import ray
from ray.data._internal.execution.execution_callback import ExecutionCallback
from ray.data._internal.execution.operators.map_operator import MapOperator
from ray.data._internal.execution.streaming_executor import StreamingExecutor

from pipelines.cluster.connection import connect
from pipelines.cluster.ray_data_internals import BlockStatsCleaner, set_up_ray_data
from pipelines.recipes.base import RunOptions

CHUNKS = 20


class Kept(ExecutionCallback):  # type: ignore[misc]
    """Counts the statistics that are kept of blocks, turn by turn."""

    stats: ClassVar[list[int]] = []

    def on_execution_step(self, executor: StreamingExecutor) -> None:
        maps = [op for op in executor._topology or () if isinstance(op, MapOperator)]
        Kept.stats.append(sum(len(op._output_blocks_stats) for op in maps))


@pytest.mark.ray
@pytest.mark.xdist_group("ray")
@pytest.mark.parametrize("is_forgetful", [True, False])
def test_nothing_is_kept_of_blocks_that_are_done(is_forgetful: bool) -> None:
    connect(RunOptions(workers=1), 1 << 30, 1)
    set_up_ray_data()
    context = ray.data.DataContext.get_current()
    assert context.custom_execution_callback_classes == [BlockStatsCleaner]
    context.custom_execution_callback_classes = [BlockStatsCleaner, Kept] if is_forgetful else [Kept]
    Kept.stats.clear()
    graph = ray.data.from_arrow([pa.table({"chunk": [number]}) for number in range(CHUNKS)])
    graph = graph.map_batches(lambda chunk: chunk, batch_size=1, batch_format="pyarrow", num_cpus=0.5)
    assert len(graph.take_all()) == CHUNKS
    set_up_ray_data()  # without what only this test counts
    assert max(Kept.stats) == (0 if is_forgetful else CHUNKS)
