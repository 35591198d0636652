"""Wraps what Shardloom uses of Ray Data beyond its public interface, as `ray_internals` does for Ray."""

import contextlib
import inspect
import logging
import math
import time
import warnings
from collections.abc import Iterator, Mapping
from typing import Any
from uuid import uuid4

import pyarrow as pa
import ray
import ray.data
from ray.data._internal.cluster_autoscaler import ClusterAutoscaler
from ray.data._internal.execution import streaming_executor, streaming_executor_state
from ray.data._internal.execution.execution_callback import ExecutionCallback
from ray.data._internal.execution.interfaces import ExecutionResources
from ray.data._internal.execution.operators import actor_pool_map_operator
from ray.data._internal.execution.operators.map_operator import MapOperator
from ray.data._internal.execution.streaming_executor import StreamingExecutor
from ray.data._internal.logical.optimizers import get_physical_ruleset
from ray.data._internal.logical.rules import FuseOperators
from ray.data._internal.stats import _StatsManager

MIN_STEP_SECONDS, MAX_STEP_SECONDS, STEP_GROWTH = 0.2, 2.0, 1.5  # of the scheduling loop
RESULT_SECONDS = 0.05  # between two looks for a result
CLUSTER_SECONDS = 10.0  # for which a graph's share of the cluster counts


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


class StepPacer(ExecutionCallback):  # type: ignore[misc]
    """Slows the scheduling loop down while no task starts and none has a result.

    The loop waits for its whole step unless all tasks are ready. A worker already holds its next chunk, so that a slow
    loop starves none. Ray Data's own pace, ten steps a second, takes more than 1 % of a laptop's cores.
    """

    def __init__(self) -> None:
        self._count = 0

    def on_execution_step(self, executor: StreamingExecutor) -> None:
        """Sets the length of the next step."""
        metrics = [op.metrics for op in executor._topology or ()]
        count = sum(each.num_tasks_submitted + each.num_task_outputs_generated for each in metrics)
        step = streaming_executor_state.WAIT_FOR_TASK_COMPLETION_TIMEOUT_S
        step = MIN_STEP_SECONDS if count != self._count else min(STEP_GROWTH * step, MAX_STEP_SECONDS)
        streaming_executor_state.WAIT_FOR_TASK_COMPLETION_TIMEOUT_S = step
        self._count = count


class _PatientTime:
    """Stands for the module `time` where the consumer of a graph waits for results, a hundred times a second."""

    def __getattr__(self, name: str) -> Any:
        return getattr(time, name)

    def sleep(self, seconds: float) -> None:
        time.sleep(max(seconds, RESULT_SECONDS))


class _NoTracker:
    """Stands for the actor that tracks where workers run, in a cluster of one node."""

    def __init__(self) -> None:
        self.update_actor_location = self

    def remote(self, *_: object) -> None:
        """Does nothing."""


class ResourceShare(ClusterAutoscaler):  # type: ignore[misc]
    """Tells Ray Data which resources of the cluster one of several graphs may use.

    Ray Data's own autoscaler divides a node's resources among graphs by integer division: three graphs on two GPUs get
    none, and their pools never grow. Here each may use what its pools can grow to. Where the cluster has less than all
    pools can grow to, the pools share it in proportion, with GPUs rounded up. Ray's autoscaler adds nodes for workers
    that wait for one.
    """

    def __init__(self, cpus: float, gpus: float, total_cpus: float, total_gpus: float, graphs: int) -> None:
        self._own, self._total, self._graphs = (cpus, gpus), (total_cpus, total_gpus), graphs
        self._resources = ExecutionResources.zero()
        self._update_at = 0.0

    def try_trigger_scaling(self) -> None:
        """Does nothing: see `ResourceShare`."""

    def on_executor_shutdown(self) -> None:
        """Does nothing: nothing was requested."""

    def get_total_resources(self) -> ExecutionResources:
        """Returns the resources of this graph, by the nodes that the cluster has had in the last seconds."""
        if time.monotonic() >= self._update_at:
            self._update_at = time.monotonic() + CLUSTER_SECONDS
            self._resources = self._compute(ray.cluster_resources())
        return self._resources

    def _compute(self, cluster: Mapping[str, float]) -> ExecutionResources:
        has = (cluster.get("CPU", 0.0), cluster.get("GPU", 0.0))
        cpus, gpus = (
            None if total <= there else there * own / total
            for own, total, there in zip(self._own, self._total, has, strict=True)
        )
        store = cluster.get("object_store_memory", 0.0) / self._graphs
        return ExecutionResources.for_limits(cpus, gpus and math.ceil(gpus), store)


@contextlib.contextmanager
def limit_resources(cpus: float, gpus: float, total_cpus: float, total_gpus: float, graphs: int) -> Iterator[None]:
    """Gives graphs that run inside the `with` block a share of the cluster, which `graphs` processes use.

    `cpus` and `gpus` are what the pools of this process can grow to, `total_cpus` and `total_gpus` those of all.
    """

    def make_share(*_: object, **__: object) -> ResourceShare:
        return ResourceShare(cpus, gpus, total_cpus, total_gpus, graphs)

    with _replace(streaming_executor, create_cluster_autoscaler=make_share):
        yield


@contextlib.contextmanager
def skip_service_actors() -> Iterator[None]:
    """Keeps graphs inside the `with` block from starting actors that keep statistics and track where workers run.

    For a cluster of one node whose dashboard nobody sees. Each of the actors takes 0.007 cores.
    """
    with (
        _replace(
            _StatsManager,
            register_dataset_to_stats_actor=staticmethod(_do_nothing),
            update_execution_metrics=staticmethod(_do_nothing),
            gen_dataset_id_from_stats_actor=staticmethod(lambda: uuid4().hex),
        ),
        _replace(
            actor_pool_map_operator,
            get_or_create_actor_location_tracker=_NoTracker,
            get_actor_locations=lambda _: {},
        ),
    ):
        yield


def _do_nothing(*_: object, **__: object) -> None:
    """Takes the place of a function whose work is left out."""


@contextlib.contextmanager
def _replace(owner: Any, **values: Any) -> Iterator[None]:
    """Replaces attributes of a module or a class inside the `with` block."""
    before = {name: inspect.getattr_static(owner, name) for name in values}
    for name, value in values.items():
        setattr(owner, name, value)
    try:
        yield
    finally:
        for name, value in before.items():
            setattr(owner, name, value)


def set_up_ray_data() -> None:
    """Configures Ray Data for graphs of one-row blocks."""
    context = ray.data.DataContext.get_current()
    context.target_max_block_size = 1
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    context.custom_execution_callback_classes = [BlockStatsCleaner, StepPacer]
    warnings.filterwarnings("ignore", module=r"ray\.data")  # it warns of pools larger than a small input needs
    streaming_executor_state.WAIT_FOR_TASK_COMPLETION_TIMEOUT_S = MIN_STEP_SECONDS
    streaming_executor_state.time = _PatientTime()
    logging.getLogger("ray.data").setLevel(logging.ERROR)  # it logs pages of counters at every step of its loop
    if FuseOperators in (rules := get_physical_ruleset()):
        rules.remove(FuseOperators)  # it would fuse a reader and a worker of one core, and a shard into one task


def iterate_blocks(graph: ray.data.Dataset) -> Iterator[pa.Table]:
    """Yields a graph's results block by block: batching them takes threads, and three times the driver's CPU time."""
    for bundle in graph.iter_internal_ref_bundles():
        for block in bundle.block_refs:
            yield ray.get(block)
