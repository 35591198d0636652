"""Builds the Ray Data graph of an annotation run, from image shards to the parts of their annotations."""

import contextlib
from collections.abc import Iterator

import pyarrow as pa
import ray
import ray.data

from pipelines.annotate.claims.source import ShardSource
from pipelines.annotate.drivers.plan import GraphPlan
from pipelines.annotate.drivers.share import DriverShare, count_readers
from pipelines.annotate.pools import Pool
from pipelines.annotate.reader import ShardReader
from pipelines.annotate.worker import PoolWorker
from pipelines.cluster.capacity import READ_TASK_CPUS
from pipelines.cluster.ray_data_internals import (
    iterate_blocks,
    limit_resources,
    set_up_ray_data,
    skip_service_actors,
)


@contextlib.contextmanager
def set_up_process(plan: GraphPlan, share: DriverShare) -> Iterator[None]:
    """Sets up this process for graphs that run inside the `with` block with one driver's share of the cluster."""
    set_up_ray_data()
    with contextlib.ExitStack() as stack:
        if plan.owns_cluster:
            stack.enter_context(skip_service_actors())
        if plan.owns_cluster or share.drivers > 1:
            limits = (share.cpus, share.gpus, share.total_cpus, share.total_gpus, share.drivers)
            stack.enter_context(limit_resources(*limits))
        yield


def iterate_rows(plan: GraphPlan, source: ShardSource, ledger: ray.actor.ActorHandle) -> Iterator[pa.Table]:
    """Runs a graph and yields its results as they arrive, in tables of one row."""
    rows = iterate_blocks(build_graph(plan, source, ledger))
    return (row for row in rows if row.num_rows)  # a reader without a shard makes an empty block


def build_graph(plan: GraphPlan, source: ShardSource, ledger: ray.actor.ActorHandle) -> ray.data.Dataset:
    """Builds the graph. A chunk is one row, and a `target_max_block_size` of one byte makes each row one block."""
    batches = {"batch_size": 1, "batch_format": "pyarrow", "zero_copy_batch": True}
    reader = ShardReader(plan.recipe, plan.output, plan.parts, source, plan.reuse, plan.tail, plan.retried)
    rows = source.make_rows()
    readers = min(len(rows), count_readers(plan.pools))
    graph = ray.data.from_arrow(rows).map_batches(
        reader.__call__,
        compute=ray.data.TaskPoolStrategy(size=readers),
        num_cpus=READ_TASK_CPUS,
        **batches,
    )
    for pool in plan.pools:
        shared = (plan.output, plan.expected, ledger, plan.repeats, plan.prepared[pool.name])
        graph = graph.map_batches(
            PoolWorker,
            fn_constructor_args=(plan.recipe, pool, *shared, plan.log_level),
            compute=make_strategy(pool),
            num_cpus=pool.request.cpus,
            num_gpus=pool.request.gpus or None,
            **plan.placements[pool.name],
            **batches,
        )
    return graph


def make_strategy(pool: Pool) -> ray.data.ActorPoolStrategy:
    """Returns the size of a pool, and how many chunks each of its workers works on and holds."""
    return ray.data.ActorPoolStrategy(
        min_size=pool.request.min_workers,
        max_size=pool.request.max_workers,
        max_tasks_in_flight_per_actor=pool.chunks_held,
        max_concurrent_calls_per_actor=pool.chunks_at_once,
        enable_true_multi_threading=pool.chunks_at_once > 1,
    )
