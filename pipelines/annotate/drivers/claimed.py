"""Drives a run that shares the output set with others: it claims shards, and waits for those that others hold.

Each round runs a graph until no shard is free. A shard that is not committed becomes free when its run ends, and
another round begins. The run ends when all shards are committed.
"""

import contextlib
import math
import uuid
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import pyarrow as pa
import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from pipelines.annotate.claims.claim_folder import ClaimFolder
from pipelines.annotate.claims.source import ClaimedShards
from pipelines.annotate.commits import ShardCommitter, check_complete, check_limits
from pipelines.annotate.drivers.graph import build_graph, set_up_process
from pipelines.annotate.drivers.other_runs import OtherRuns
from pipelines.annotate.drivers.plan import GraphPlan
from pipelines.annotate.drivers.run_view import RunView
from pipelines.annotate.drivers.share import count_readers, divide_pools
from pipelines.annotate.graph_watch import WORK_IS_KEPT, StallWatch, describe_stalled_stage, follow, take_last_snapshot
from pipelines.annotate.messages import ShardEnd, decode_message
from pipelines.annotate.parts import list_part_paths
from pipelines.cluster.ledger import Snapshot, start_ledger
from pipelines.cluster.ray_data_internals import iterate_blocks
from pipelines.inputs.shards import InputShard
from pipelines.output.job import OutputCommitter
from schemas.errors import ShardloomError
from schemas.log import LOG
from schemas.output_set.holder import Holder
from schemas.output_set.layout import MANIFESTS

OWNER = "driver"  # of all tickets of a run
CHUNKS_PER_WORKER = 3  # in the shards that a run holds: one in work, one in the queue, one that is read


class ClaimedRun:
    """Works on the shards that it can claim. `others` follows the runs with which it shares them."""

    def __init__(
        self, plan: GraphPlan, shards: list[InputShard], committer: OutputCommitter, view: RunView, others: OtherRuns
    ) -> None:
        self.plan, self.shards, self.committer, self.view, self.others = plan, shards, committer, view, others
        self.ledger = start_ledger([pool.name for pool in plan.pools])
        self.stall_seconds = plan.recipe.run.stall_seconds

    def carry_out(self) -> None:
        """Works until all shards are committed, by this run or by others. The first shard is free to claim."""
        try:
            with start_claims(self.plan, self.shards, self.committer.lock.holder) as claims:
                committer = ClaimCommitter(self.plan, self.committer, claims, self.others)
                is_any_free = True
                while is_any_free:
                    self._run_round(claims, committer)
                    is_any_free = self.others.wait_for_shards()
            snapshot = take_last_snapshot(self.ledger, committer.chunks_written)
            self.committer.times.stages = {stage: asdict(counts) for stage, counts in snapshot.stages.items()}
            self.view.update(snapshot)
        finally:
            self.view.close()
        ray.kill(self.ledger)

    def _run_round(self, claims: ray.actor.ActorHandle, committer: "ClaimCommitter") -> None:
        """Runs a graph until this run holds no shard and finds none to claim."""
        tickets = len(self.others.look())
        if not tickets:  # others have committed what was free before Ray had started; an empty graph is an error of Ray
            return
        watch = StallWatch([pool.request for pool in self.plan.pools], self.stall_seconds)

        def on_tick(snapshot: Snapshot, idle_seconds: float) -> None:
            self.others.look_sometimes()
            self.view.show(snapshot, committer.bytes, describe_stalled_stage(snapshot, self.stall_seconds))
            if stall := watch.explain(snapshot, idle_seconds):
                raise ShardloomError(f"{stall}; {WORK_IS_KEPT}")

        life = uuid.uuid4().hex
        ask(claims, "begin_life", OWNER, life)
        source = ClaimedShards(claims, OWNER, life, 0, tickets)

        def iterate_rows() -> Iterator[pa.Table]:
            return iterate_blocks(build_graph(self.plan, source, self.ledger))

        with (
            set_up_process(self.plan, divide_pools(self.plan.pools, 1)[0]),
            contextlib.closing(follow(iterate_rows, self.ledger, self.stall_seconds, on_tick)) as results,
        ):
            for row in results:
                if row.num_rows:
                    committer.handle_result(decode_message(row))
                    check_limits(self.plan.recipe, self.plan.output, self.committer.times)
                    self.view.show_bytes(committer.bytes)
                elif ask(claims, "end_life_if_drained", OWNER):  # the other tickets would each cost a turn of the graph
                    take_last_snapshot(self.ledger, committer.chunks_written)  # the workers end with the graph
                    break
        check_complete(ask(claims, "begin_life", OWNER, ""))


class ClaimCommitter(ShardCommitter):
    """Commits the shards that this run still holds, and gives back those that another run has interfered with."""

    def __init__(
        self, plan: GraphPlan, committer: OutputCommitter, claims: ray.actor.ActorHandle, others: OtherRuns
    ) -> None:
        super().__init__(plan.recipe, plan.output, committer.commit, committer.times)
        self._claims, self._others = claims, others

    def _commit_shard(self, end: ShardEnd) -> None:
        """Joins and commits the shard, or gives it back where another run has taken it over or removed its parts.

        That run may commit the shard at any time and remove its parts. A run that completes the set removes all parts,
        also those of a shard that came into the input after it had listed it.
        """
        if ask(self._claims, "is_held", end.shard):
            try:
                super()._commit_shard(end)
            except ShardloomError:
                if not self._is_committed(end) and all(map(self.output.exists, list_part_paths(end))):
                    raise
            else:
                self._others.note_commit(end.shard)
                ask(self._claims, "finish", end.shard)
                return
        LOG.warning(f"another run has taken over {end.shard} or removed its parts while this one was held up")
        self._forget(end)
        ask(self._claims, "give_back", end.shard)

    def _is_committed(self, end: ShardEnd) -> bool:
        return self.output.exists(f"{MANIFESTS}/{end.shard}.json")


@contextlib.contextmanager
def start_claims(plan: GraphPlan, shards: list[InputShard], holder: Holder) -> Iterator[ray.actor.ActorHandle]:
    """Starts an actor on this node that claims shards for the readers, and ends it after the block."""
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    options = {"num_cpus": 0, "max_restarts": -1, "max_task_retries": -1}
    calls = count_readers(plan.pools) + 2  # readers wait in `take`, while the driver asks
    limit = compute_claim_limit(plan, shards)
    actor = ray.remote(scheduling_strategy=here, max_concurrency=calls, **options)(ClaimFolder)
    claims = actor.remote(plan.output, shards, holder, limit)
    try:
        yield claims
    finally:
        ray.kill(claims)


def compute_claim_limit(plan: GraphPlan, shards: list[InputShard]) -> int:
    """Returns how many shards the run holds at most: what keeps its workers busy. The others are left to other runs."""
    workers = max(pool.request.max_workers for pool in plan.pools)
    chunks = max(1.0, sum(shard.get_size() for shard in shards) / len(shards) / plan.recipe.chunk.bytes)
    return count_readers(plan.pools) + math.ceil(CHUNKS_PER_WORKER * workers / chunks)


def ask(claims: ray.actor.ActorHandle, question: str, *arguments: Any) -> Any:
    """Asks the actor with the claims, and returns its answer."""
    return ray.get(getattr(claims, question).remote(*arguments))
