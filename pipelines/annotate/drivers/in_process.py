"""Drives the one graph of a run in this process."""

import contextlib
import functools
from collections.abc import Callable
from dataclasses import asdict

import ray

from pipelines.annotate.claims.source import ListedShards
from pipelines.annotate.commits import ShardCommitter, check_complete, check_limits
from pipelines.annotate.drivers.graph import iterate_rows, set_up_process
from pipelines.annotate.drivers.plan import GraphPlan
from pipelines.annotate.drivers.run_view import RunView
from pipelines.annotate.drivers.share import divide_pools
from pipelines.annotate.graph_watch import WORK_IS_KEPT, StallWatch, describe_stalled_stage, follow, take_last_snapshot
from pipelines.annotate.messages import ShardEnd, decode_message
from pipelines.annotate.parts import join_parts
from pipelines.annotate.retries.merge import merge_parts
from pipelines.cluster.ledger import Snapshot, start_ledger
from pipelines.inputs.shards import InputShard
from pipelines.output.job import OutputCommitter
from schemas.errors import ShardloomError
from schemas.output_set.manifest import Manifest
from schemas.storage.folder import Folder


def make_join(plan: GraphPlan) -> Callable[[Folder, ShardEnd], Manifest]:
    """Returns what makes a shard's outputs of its parts."""
    if plan.retried is None:
        return functools.partial(join_parts, recipe_sha256=plan.recipe.compute_sha256())
    return functools.partial(merge_parts, retried=plan.retried)


def run_in_process(plan: GraphPlan, shards: list[InputShard], committer: OutputCommitter, view: RunView) -> None:
    """Runs the graph, with a ledger of its own, and commits each shard as soon as all its chunks are written."""
    ledger = start_ledger([pool.name for pool in plan.pools])
    run_graph(plan, shards, committer, view, ledger)
    ray.kill(ledger)


def run_graph(
    plan: GraphPlan, shards: list[InputShard], committer: OutputCommitter, view: RunView, ledger: ray.actor.ActorHandle
) -> None:
    """Runs the graph with this ledger. Raises `ShardloomError` unless all shards are committed."""
    recipe, stall_seconds = plan.recipe, plan.recipe.run.stall_seconds
    watch = StallWatch([pool.request for pool in plan.pools], stall_seconds)
    shard_committer = ShardCommitter(recipe, plan.output, committer.commit, committer.times, make_join(plan))

    def on_tick(snapshot: Snapshot, idle_seconds: float) -> None:
        view.show(snapshot, shard_committer.bytes, describe_stalled_stage(snapshot, stall_seconds))
        if stall := watch.explain(snapshot, idle_seconds):
            raise ShardloomError(f"{stall}; {WORK_IS_KEPT}")

    rows = functools.partial(iterate_rows, plan, ListedShards(shards, plan.tail.last), ledger)
    try:
        with (
            set_up_process(plan, divide_pools(plan.pools, 1)[0]),
            contextlib.closing(follow(rows, ledger, stall_seconds, on_tick)) as results,
        ):
            for row in results:
                shard_committer.handle_result(decode_message(row))
                if plan.retried is None:  # a retry has the rows that failed, and most may fail again
                    check_limits(recipe, plan.output, committer.times)
                view.show_bytes(shard_committer.bytes)
        snapshot = take_last_snapshot(ledger, shard_committer.chunks_written)
        committer.times.stages = {stage: asdict(counts) for stage, counts in snapshot.stages.items()}
        view.update(snapshot)
    finally:
        view.close()
    check_complete([shard.name for shard in shards if shard.name not in shard_committer.committed])
