"""Drives one of several graphs of a run, in an actor that claims shard after shard.

Ray starts it again when its process dies. Each call of `run` is a life of the driver: it gives back what an earlier
life had claimed and not committed, and takes new tickets.
"""

import contextlib
import functools
import math
import os
import threading
import time
import uuid
from dataclasses import replace
from typing import Any

import ray

from pipelines.annotate.claims.source import ClaimedShards
from pipelines.annotate.commits import ShardCommitter, check_limits
from pipelines.annotate.drivers.graph import iterate_rows, set_up_process
from pipelines.annotate.drivers.plan import GraphPlan
from pipelines.annotate.drivers.report import DriverReport, make_empty_snapshot
from pipelines.annotate.drivers.share import DriverShare
from pipelines.annotate.graph_watch import TICK_SECONDS, StallWatch, follow, take_last_snapshot
from pipelines.annotate.messages import decode_message
from pipelines.cluster.failure import Failure
from pipelines.cluster.ledger import Snapshot, start_ledger
from pipelines.output.totals import RunTimes
from pipelines.output.writer import commit
from schemas.errors import ShardloomError
from schemas.log import LOG, configure_log
from schemas.output_set.active_runs import PREFIX, name_file
from schemas.output_set.layout import MANIFESTS
from schemas.output_set.lock import find_other, make_lost_error
from schemas.output_set.manifest import Manifest
from schemas.storage.folder import AlreadyWritten

TICKETS_PER_SHARD = 1.5  # of a fair share: a driver that is faster than the others takes more than its share
MORE_TICKETS = 2


class SubDriver:
    """Implements the actor, which works on shards in `run` and meanwhile sends its report once a second.

    It is not asked for the report: an actor that answers calls while it works has a thread that wakes 100 times a
    second. `lock_id` names the holder of the output's lock, for whom the driver works.
    """

    def __init__(self, plan: GraphPlan, share: DriverShare, claims: ray.actor.ActorHandle, lock_id: str) -> None:
        configure_log(plan.log_level, process=f"{share.name} {os.getpid()}")
        self.plan, self.share, self.claims, self.lock_id = plan, share, claims, lock_id
        self.stages = [pool.name for pool in share.pools]
        self._report = DriverReport("", make_empty_snapshot(self.stages))  # of what the present life has done so far
        threading.Thread(target=self._send_reports, daemon=True, name="report").start()

    def run(self) -> DriverReport | Failure:
        """Works on shards until none is free. Returns a foreseen error as a `Failure`."""
        try:
            return self._run()
        except ShardloomError as error:
            return Failure.from_error(error)

    def _run(self) -> DriverReport:
        life, tickets = uuid.uuid4().hex, 0
        times = RunTimes()
        committer = ShardCommitter(self.plan.recipe, self.plan.output, self._commit, times)
        is_restarted = ray.get_runtime_context().was_current_actor_reconstructed
        report = DriverReport(life, make_empty_snapshot(self.stages), times, committer.bytes, is_restarted=is_restarted)
        self._report = report
        if freed := self._ask("begin_life", self.share.name, life):
            LOG.debug(f"gives back {', '.join(freed)}")
        ledger = start_ledger(self.stages)
        while free := self._ask("count_free"):  # again where the tickets were too few: another driver has ended
            count = min(free, math.ceil(TICKETS_PER_SHARD * free / self.share.drivers) + MORE_TICKETS)
            source = ClaimedShards(self.claims, self.share.name, life, tickets, count)
            self._run_graph(source, ledger, committer)
            tickets += count
        self._report.snapshot = take_last_snapshot(ledger, committer.chunks_written)
        ray.kill(ledger)
        return self._report

    def _run_graph(self, source: ClaimedShards, ledger: ray.actor.ActorHandle, committer: ShardCommitter) -> None:
        stall_seconds = self.plan.recipe.run.stall_seconds
        watch = StallWatch([pool.request for pool in self.share.pools], stall_seconds)

        def on_tick(snapshot: Snapshot, idle_seconds: float) -> None:
            self._report.snapshot, self._report.stall = snapshot, watch.explain(snapshot, idle_seconds)

        plan = replace(self.plan, pools=self.share.pools)
        rows = functools.partial(iterate_rows, plan, source, ledger)
        with (
            set_up_process(self.plan, self.share),
            contextlib.closing(follow(rows, ledger, stall_seconds, on_tick)) as results,
        ):
            for row in results:
                committer.handle_result(decode_message(row))
                check_limits(plan.recipe, plan.output, committer.times)  # here too, before a shard is committed

    def _commit(self, manifest: Manifest) -> None:
        """Commits a shard. Does nothing where an earlier life has committed it before it died.

        Raises `ShardloomError` where another run has locked the output since: the command of this one has been killed.
        """
        output = self.plan.output
        if not output.exists(name_file(PREFIX, self.lock_id)):
            raise make_lost_error(find_other(output, self.lock_id))
        try:
            commit(output, manifest)
        except AlreadyWritten:
            if output.read(f"{MANIFESTS}/{manifest.name}.json") != manifest.to_json():
                raise
        self._ask("finish", manifest.name)

    def _send_reports(self) -> None:
        while True:
            self.claims.record_report.remote(self.share.place, self._report)
            time.sleep(TICK_SECONDS)

    def _ask(self, question: str, *arguments: Any) -> Any:
        return ray.get(getattr(self.claims, question).remote(*arguments))
