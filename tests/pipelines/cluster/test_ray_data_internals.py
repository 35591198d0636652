"""What is held of a graph's blocks while it runs."""

import inspect
from typing import ClassVar

import pyarrow as pa
import pytest
import ray
from ray.data._internal.execution import streaming_executor
from ray.data._internal.execution.execution_callback import ExecutionCallback
from ray.data._internal.execution.operators.map_operator import MapOperator
from ray.data._internal.execution.streaming_executor import StreamingExecutor
from ray.data._internal.stats import _StatsManager
from ray.util import list_named_actors

from pipelines.cluster.connection import connect
from pipelines.cluster.ray_data_internals import (
    BlockStatsCleaner,
    ResourceShare,
    StepPacer,
    iterate_blocks,
    limit_resources,
    set_up_ray_data,
    skip_service_actors,
)
from pipelines.recipes.base import RunOptions

CHUNKS = 20


class Same:
    """A worker that changes nothing."""

    def __call__(self, chunk: pa.Table) -> pa.Table:
        return chunk


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
    assert context.custom_execution_callback_classes == [BlockStatsCleaner, StepPacer]
    context.custom_execution_callback_classes = [BlockStatsCleaner, Kept] if is_forgetful else [Kept]
    Kept.stats.clear()
    graph = ray.data.from_arrow([pa.table({"chunk": [number]}) for number in range(CHUNKS)])
    graph = graph.map_batches(lambda chunk: chunk, batch_size=1, batch_format="pyarrow", num_cpus=0.5)
    assert len(graph.take_all()) == CHUNKS
    set_up_ray_data()  # without what only this test counts
    assert max(Kept.stats) == (0 if is_forgetful else CHUNKS)


@pytest.mark.parametrize(
    ("cluster", "share"),
    [
        ({"CPU": 20, "GPU": 5, "object_store_memory": 900}, (float("inf"), float("inf"), 300)),
        ({"CPU": 6, "GPU": 2, "object_store_memory": 600}, (2.0, 1, 200)),  # two GPUs for three graphs
        ({"CPU": 12, "GPU": 4}, (float("inf"), 2, 0)),
        ({}, (0.0, 0, 0)),
    ],
)
def test_a_graph_has_its_share_of_a_cluster(cluster: dict[str, float], share: tuple[float, float, float]) -> None:
    found = ResourceShare(4, 1.5, 12, 4.5, 3)._compute(cluster)
    assert (found.cpu, found.gpu, found.object_store_memory) == share


def test_graphs_of_a_process_use_its_share() -> None:
    before = streaming_executor.create_cluster_autoscaler
    with limit_resources(4, 1.5, 12, 4.5, 3):
        made = streaming_executor.create_cluster_autoscaler({}, None, None, execution_id="x")
    assert isinstance(made, ResourceShare)
    assert made._own == (4, 1.5)
    assert streaming_executor.create_cluster_autoscaler is before


@pytest.mark.ray
@pytest.mark.xdist_group("ray")
def test_a_graph_without_service_actors() -> None:
    """Its pool's workers report to the tracker that is not there."""
    connect(RunOptions(workers=1), 1 << 30, 1)
    set_up_ray_data()
    before = inspect.getattr_static(_StatsManager, "update_execution_metrics")
    service_actors = list_named_actors(all_namespaces=True)
    with skip_service_actors(), limit_resources(1, 0, 1, 0, 1):
        graph = ray.data.from_arrow([pa.table({"chunk": [number]}) for number in range(CHUNKS)])
        compute = ray.data.ActorPoolStrategy(size=1)
        graph = graph.map_batches(Same, batch_size=1, batch_format="pyarrow", num_cpus=0.5, compute=compute)
        assert len(list(iterate_blocks(graph))) == CHUNKS
    assert list_named_actors(all_namespaces=True) == service_actors
    assert inspect.getattr_static(_StatsManager, "update_execution_metrics") is before
