"""Drives a run by several drivers: starts them, adds up their progress, and ends the run when one fails.

The drivers are actors on the node of this process, which Ray starts again when they die. They share the shards of the
run by claims. A driver that has stalled while others work is ended, and they take its shards over.
"""

import contextlib
import functools
import tempfile
import time
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from pipelines.annotate.claims.shard_queue import start_queue
from pipelines.annotate.commits import check_complete, check_limits
from pipelines.annotate.drivers.plan import GraphPlan
from pipelines.annotate.drivers.report import DriverReport, ReportBook
from pipelines.annotate.drivers.run_view import RunView
from pipelines.annotate.drivers.share import DriverShare, divide_pools
from pipelines.annotate.drivers.sub_driver import SubDriver
from pipelines.annotate.graph_watch import STALL_NOTE_SHARE, TICK_SECONDS, WORK_IS_KEPT, describe_stalled_stage
from pipelines.cluster.connection import translate_error
from pipelines.cluster.failure import Failure
from pipelines.inputs.shards import InputShard
from pipelines.output.job import OutputCommitter
from pipelines.output.totals import RunTimes
from schemas.errors import ShardloomError
from schemas.log import LOG
from schemas.output_set.layout import MANIFESTS
from schemas.storage.folder import Folder

START_SECONDS = 60.0  # in which a driver's process starts, or starts again, on a busy machine
MAX_DEATHS = 5  # of a driver in succession without a chunk done


class DriverGroup:
    """Runs the drivers of one run."""

    def __init__(self, plan: GraphPlan, committer: OutputCommitter, view: RunView) -> None:
        self.plan, self.committer, self.view = plan, committer, view
        self.shares = divide_pools(plan.pools, plan.drivers)
        self.book = ReportBook([pool.name for pool in plan.pools])
        self.members: list[Member] = []
        self._question: ray.ObjectRef | None = None  # for the reports of all drivers

    def carry_out(self, shards: list[InputShard]) -> None:
        """Works on all shards. Raises `ShardloomError` when a driver fails, or none makes progress."""
        with self._start(shards) as claims:
            missing = [shard.name for shard in shards]
            while missing:
                for member in self.members:
                    member.start()
                self._follow(claims)
                before, missing = missing, ray.get(claims.list_unfinished.remote())
                if missing == before:  # a driver that ended last may have left shards; the others then take them
                    break
        check_complete(missing)
        self.committer.times.shards = len(shards)  # a driver that has died has not reported its last second

    @contextlib.contextmanager
    def _start(self, shards: list[InputShard]) -> Iterator[ray.actor.ActorHandle]:
        """Starts the queue of shards and the drivers, and ends all of them after the block."""
        is_committed = functools.partial(_is_committed, self.plan.output)
        with tempfile.TemporaryDirectory(prefix="shardloom-claims-") as folder, contextlib.ExitStack() as stack:
            claims = start_queue(shards, is_committed, str(Path(folder, "journal")), self.plan.tail.last)
            stack.callback(ray.kill, claims)
            for share in self.shares:
                member = Member(self.plan, share, claims, self.committer.lock_id)
                stack.callback(member.end)
                self.members.append(member)
            try:
                yield claims
            finally:
                self.view.close()

    def _follow(self, claims: ray.actor.ActorHandle) -> None:
        """Waits until all drivers have ended their work."""
        last_tick = 0.0
        while running := [member for member in self.members if member.is_running]:
            ray.wait([member.result for member in running], timeout=TICK_SECONDS)
            for member in running:
                member.take_result(self.book)
            if time.monotonic() - last_tick >= TICK_SECONDS:
                last_tick = time.monotonic()
                self._tick([member for member in running if member.is_running], self._take_reports(claims))
        self._show([])
        check_limits(self.plan.recipe, self.plan.output, self.committer.times)

    def _tick(self, running: list["Member"], reports: dict[int, DriverReport]) -> None:
        self.committer.check_lock()
        for member in running:
            if (report := reports.get(member.share.place)) is not None:
                member.take_report(self.book, report)
        self._show(running)
        check_limits(self.plan.recipe, self.plan.output, self.committer.times)
        self._check_progress(running)

    def _show(self, running: list["Member"]) -> None:
        _update_times(self.committer.times, self.book.sum_times())
        snapshot = self.book.sum_snapshots()
        notes = (member.describe_stall(self.book, self.plan.recipe.run.stall_seconds) for member in running)
        self.view.show(snapshot, self.book.sum_bytes(), next(filter(None, notes), ""))

    def _check_progress(self, running: list["Member"]) -> None:
        """Ends drivers that have stalled. Raises `ShardloomError` where one does not answer, or all have stalled."""
        for member in running:
            member.check_alive(self.plan.recipe.run.stall_seconds)
        stalled = [(member, report.stall) for member, report in self._list_reports(running) if report.stall]
        for member, stall in stalled:
            if len(stalled) == len(running):
                raise ShardloomError(f"{member.share.name}: {stall}; {WORK_IS_KEPT}")
            LOG.warning(f"{member.share.name} ends, and the others take its shards: {stall}")
            member.retire(self.book)

    def _take_reports(self, claims: ray.actor.ActorHandle) -> dict[int, DriverReport]:
        """Returns the drivers' reports that have come since the last time, and asks for the next ones."""
        reports: dict[int, DriverReport] = {}
        if self._question is not None:
            if not ray.wait([self._question], timeout=0)[0]:
                return {}
            with contextlib.suppress(ray.exceptions.RayError):  # its process has died; the next one gets later reports
                reports = ray.get(self._question)
        self._question = claims.take_reports.remote()
        return reports

    def _list_reports(self, members: list["Member"]) -> list[tuple["Member", DriverReport]]:
        reports = ((member, self.book.get_latest(member.share.place)) for member in members)
        return [(member, report) for member, report in reports if report is not None]


class Member:
    """Holds one driver of the group: its actor, its work, and when it answered last."""

    def __init__(self, plan: GraphPlan, share: DriverShare, claims: ray.actor.ActorHandle, lock_id: str) -> None:
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        options = {"num_cpus": 0, "max_restarts": -1, "max_task_retries": -1}
        self.share, self.claims = share, claims
        self.actor = ray.remote(scheduling_strategy=here, **options)(SubDriver).remote(plan, share, claims, lock_id)
        self.result: ray.ObjectRef | None = None  # of its work; None while it has none
        self.is_retired = False
        self._last_report = time.monotonic()
        self._deaths = 0  # in succession, without a chunk done
        self._bytes_at_death = -1

    @property
    def is_running(self) -> bool:
        """Returns whether the driver has work."""
        return self.result is not None

    def start(self) -> None:
        """Lets the driver work, unless it is retired."""
        if not self.is_retired:
            self.result, self._last_report = self.actor.run.remote(), time.monotonic()

    def end(self) -> None:
        """Ends the actor, and with it its ledger and its workers."""
        ray.kill(self.actor)

    def retire(self, book: ReportBook) -> None:
        """Ends the driver for good, and frees its shards once its process is gone."""
        self.is_retired = True
        self.end()
        with contextlib.suppress(ray.exceptions.RayError):
            ray.get(self.result)
        self.result = None
        book.end_life(self.share.place)
        ray.get(self.claims.begin_life.remote(self.share.name, ""))

    def take_result(self, book: ReportBook) -> None:
        """Takes the result of the driver's work, if that has ended. Raises `ShardloomError` if it failed."""
        if not ray.wait([self.result], timeout=0)[0]:
            return
        try:
            result: DriverReport | Failure = ray.get(self.result)
        except ray.exceptions.RayError as error:
            raise translate_error(error) from None
        if isinstance(result, Failure):
            raise result.to_error()
        self.result = None
        book.add(self.share.place, result)

    def take_report(self, book: ReportBook, report: DriverReport) -> None:
        """Adds a report to the book. Raises `ShardloomError` when the driver dies again and again."""
        self._last_report = time.monotonic()
        if not report.life or not book.add(self.share.place, report):
            return
        done = book.sum_bytes().written
        self._deaths = 1 if done > self._bytes_at_death else self._deaths + 1
        self._bytes_at_death = done
        if self._deaths >= MAX_DEATHS:
            raise ShardloomError(f"{self.share.name} has died {self._deaths} times in succession; {WORK_IS_KEPT}")
        LOG.warning(f"{self.share.name} has died and started again; its shards went back")

    def check_alive(self, stall_seconds: float) -> None:
        """Raises `ShardloomError` if the driver has not answered for `stall_seconds`, or for the time of a start."""
        silent = time.monotonic() - self._last_report
        if self.is_running and silent > max(stall_seconds, START_SECONDS):
            raise ShardloomError(f"no progress for {silent:.0f} s: {self.share.name} does not answer; {WORK_IS_KEPT}")

    def describe_stall(self, book: ReportBook, stall_seconds: float) -> str:
        """Says what holds up the driver, for `STALL_NOTE_SHARE` of `stall_seconds`; empty if nothing does."""
        if not self.is_running:
            return ""
        if (silent := time.monotonic() - self._last_report) > STALL_NOTE_SHARE * stall_seconds:
            return f"{self.share.name} has not answered for {silent:.0f} s"
        report = book.get_latest(self.share.place)
        note = "" if report is None else describe_stalled_stage(report.snapshot, stall_seconds)
        return note and f"{self.share.name}: {note}"


def _is_committed(output: Folder, shard: str) -> bool:
    return output.exists(f"{MANIFESTS}/{shard}.json")


def _update_times(times: RunTimes, total: RunTimes) -> None:
    """Sets the counts of the run; `runs` and `seconds` are the command's own."""
    for name in {each.name for each in fields(RunTimes)} - {"runs", "seconds"}:
        value: Any = getattr(total, name)
        setattr(times, name, value)
