"""Runs the probe: the run's own graph with its pools, on a sample of its images.

The probe has two rounds. The first gives each worker one chunk: its start is that of the run, and its speed says how
many images fill the time of the second, from which the rates are measured. A chunk of the probe has as few samples as
all pools' batches allow, so that there are many of them; an engine sees batches of the size that the run has.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import ray

from pipelines.annotate.drivers.in_process import run_graph
from pipelines.annotate.drivers.plan import GraphPlan, Work, make_plan
from pipelines.annotate.drivers.run_view import RunView
from pipelines.annotate.forecast.sample import SampleDrawer, draw_shards
from pipelines.annotate.forecast.timeline import Group
from pipelines.annotate.pools import Pool
from pipelines.annotate.slices import TailPlan
from pipelines.cluster.capacity import list_cluster_nodes
from pipelines.cluster.chunk_times import ChunkTime, TimedLedger
from pipelines.cluster.ledger import start_ledger
from pipelines.cluster.machine import count_cores
from pipelines.engines.loader import waits_for_server
from pipelines.inputs.shards import InputShard, list_input_shards
from pipelines.output.job import OutputCommitter
from pipelines.terminal.progress import Progress
from schemas.storage.folder import Folder

MIN_CHUNKS = 4  # for each worker in the second round, of which the first is its warm-up
MIN_SHARE = 1 / 3  # of the probe's time, for the second round, however long the first took
PILOT, MAIN = "pilot", "main"  # how the names of shards begin


@dataclass(frozen=True, slots=True)
class Round:
    """Holds the times of one round."""

    times: list[ChunkTime]
    peaks: Mapping[str, list[int]]
    closing: float  # seconds from the end of the last chunk to that of the round

    @property
    def span(self) -> float:
        """Returns the seconds from the start of the first chunk to the end of the last."""
        return max(one.ended for one in self.times) - min(one.started for one in self.times)


@dataclass(frozen=True, slots=True)
class Probe:
    """Holds what a probe has measured."""

    stages: dict[str, int]  # in the graph's order, with the workers of each
    groups: list[Group]
    slice_unit: int  # samples that stay together where the run cuts its last chunks
    start: float  # seconds from the beginning to the first chunk
    round: Round  # the second, or the first if the input has no more images


class Prober:
    """Runs the rounds of a probe on samples that `drawer` draws into `images`, for about `seconds` seconds of work.

    `began` is when the run of the probe began, on the monotonic clock.
    """

    def __init__(self, drawer: SampleDrawer, images: Folder, seconds: float, began: float) -> None:
        self.drawer, self.images, self.seconds, self.began = drawer, images, seconds, began

    def carry_out(self, work: Work, committer: OutputCommitter) -> Probe:
        """Runs both rounds. `work` has a shard of one chunk for the first."""
        whole, preparation = make_plan(work)
        plan = replace(whole, tail=TailPlan())  # so that chunks are alike: none is cut
        preparation.wait(committer.progress)
        start = time.monotonic() - self.began
        workers = count_places(plan.pools)
        shards = work.todo + self._draw(PILOT, workers - 1, committer.progress)
        view = RunView(committer.progress, committer.times, None, len(shards))
        began = time.monotonic()
        first = self._run(plan, shards, committer, view)
        start += min(one.started for one in first.times) - began
        second = self._run_second(plan, committer, view, first, workers)
        stages = {pool.name: pool.request.max_workers for pool in plan.pools}
        return Probe(stages, list_groups(plan.pools, plan.owns_cluster), whole.tail.unit, start, second or first)

    def _run_second(
        self, plan: GraphPlan, committer: OutputCommitter, view: RunView, first: Round, workers: int
    ) -> Round | None:
        """Runs the second round, as long as the first leaves time; None if there are no more images."""
        left = max(self.seconds - first.span, MIN_SHARE * self.seconds)
        chunks = len({one.chunk for one in first.times})
        wanted = max(MIN_CHUNKS * workers, round(left / (first.span / chunks)))
        shards = self._draw(MAIN, wanted, committer.progress)
        return self._run(plan, shards, committer, view) if shards else None

    def _draw(self, prefix: str, chunks: int, progress: Progress) -> list[InputShard]:
        """Draws shards of so many chunks in all, as far as the input has images that were not drawn yet."""
        if not draw_shards(self.drawer, self.images, prefix, chunks):
            return []
        shards = list_input_shards([f"{self.images.url}/{prefix}-*.tar"], ".tar")
        progress.total += sum(shard.get_size() for shard in shards)
        return shards

    def _run(self, plan: GraphPlan, shards: list[InputShard], committer: OutputCommitter, view: RunView) -> Round:
        ledger = start_ledger([pool.name for pool in plan.pools], TimedLedger)
        run_graph(plan, shards, committer, view, ledger)
        times, peaks = ray.get([ledger.list_times.remote(), ledger.list_peaks.remote()])
        ended = time.monotonic()
        ray.kill(ledger)
        return Round(times, peaks, max(0.0, ended - max(one.ended for one in times)))


def count_places(pools: Sequence[Pool]) -> int:
    """Returns the chunks that the largest pool works on at a time."""
    return max(pool.request.max_workers * pool.chunks_at_once for pool in pools)


def list_groups(pools: Sequence[Pool], owns_cluster: bool) -> list[Group]:
    """Returns the stages that share a resource: the cores; the workers of each pool on GPUs or in front of a server."""
    cores = count_cores() if owns_cluster else int(sum(node.cpus for node in list_cluster_nodes()))
    alone = [pool for pool in pools if pool.request.gpus or (pool.options and _waits(pool))]
    shared = [pool for pool in pools if pool not in alone]
    groups = [Group(frozenset([pool.name]), pool.request.max_workers * pool.chunks_at_once) for pool in alone]
    if shared:
        workers = sum(pool.request.max_workers for pool in shared)
        groups.append(Group(frozenset(pool.name for pool in shared), max(1, min(cores, workers))))
    return groups


def _waits(pool: Pool) -> bool:
    return pool.engine is not None and pool.options is not None and waits_for_server(pool.engine, pool.options)
