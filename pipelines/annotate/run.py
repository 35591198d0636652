"""The main job: image shards in, an annotation set out.

read (one task a shard) -> decode, tags, ocr, boxes (an actor pool each; the last writes a part a chunk) -> commit (the
driver, shard by shard)
"""

import contextlib
import logging
import os
import sys
import time
import warnings
from collections.abc import Iterator
from dataclasses import asdict

import pyarrow as pa
import ray
import ray.data
from ray.data._internal.execution import streaming_executor_state
from ray.data._internal.logical.optimizers import get_physical_ruleset
from ray.data._internal.logical.rules import FuseOperators

from pipelines.annotate.messages import Chunk, Message, ShardEnd, Written, from_row
from pipelines.annotate.parts import commit_shard, fingerprints_of
from pipelines.annotate.placement import check_environments, placements
from pipelines.annotate.pools import Pool, plan_pools
from pipelines.annotate.preparation import Preparation
from pipelines.annotate.ray_data import Forgetful
from pipelines.annotate.reader import ShardReader, shard_row
from pipelines.annotate.repeats import repeated_keys
from pipelines.annotate.reuse import Reuse, find_reuse
from pipelines.annotate.watch import follow, note
from pipelines.annotate.worker import PoolWorker
from pipelines.cluster.capacity import READER_CPUS
from pipelines.cluster.connection import check, connect, joins
from pipelines.cluster.failure import Failure
from pipelines.cluster.ledger import Snapshot, start_ledger
from pipelines.cluster.prometheus import BYTES_LEFT, SHARDS_LEFT, Exporter
from pipelines.engines.chosen import check_engines
from pipelines.inputs.shards import InputShard, input_shards
from pipelines.output.output_set import begun
from pipelines.output.totals import RunClock, RunTimes, Totals, check_damage, totals
from pipelines.recipes.annotate import AnnotateRecipe
from pipelines.terminal.progress import Progress
from schemas.errors import ShardloomError, UsageError
from schemas.output_set.layout import PARTS, committed
from schemas.output_set.manifest import Manifest
from schemas.storage.folder import Folder
from schemas.storage.retries import untold

SCHEDULING_SECONDS = 0.3
WORKERS_PER_READER = 8  # one reader feeds that many OCR workers many times over; more only opens more shards at once


def annotate(recipe: AnnotateRecipe, output: str, quiet: bool = False) -> Totals:
    """Annotates every shard that is not committed yet. Raises `ShardloomError` when it can't be done to the end."""
    folder = Folder(output)
    shards = input_shards(recipe.input, ".tar")
    for notice in check_engines(recipe.engines):
        print(notice, file=sys.stderr, flush=True)
    check_environments(recipe)
    reuse = find_reuse(recipe, shards)
    with begun(folder, recipe):
        done = committed(folder)
        check_inputs(shards, done)
        todo = [shard for shard in shards if shard.name not in done]
        if todo:
            clock = RunClock()
            with Progress("annotate", sum(shard.size() for shard in todo), quiet=quiet) as progress:
                Run(recipe, folder, todo, done, reuse).to_the_end(progress, clock)
            clock.stop(folder)
        folder.clear(PARTS)  # also those of a run that was killed after its last commit
        result = totals(folder)
    check_damage(result, recipe.run.allow_damaged)
    return result


def check_inputs(shards: list[InputShard], done: dict[str, Manifest]) -> None:
    """Refuses to go on over inputs that have changed since they were committed."""
    for shard in shards:
        if shard.name in done:
            was = done[shard.name].inputs[0]
            if (size := shard.size()) != was.size:
                raise UsageError(
                    f"{shard.path} has {size} bytes and had {was.size} when it was committed: take a new output folder"
                )


class Run:
    """One run of the graph over the shards that are not committed."""

    def __init__(
        self,
        recipe: AnnotateRecipe,
        output: Folder,
        shards: list[InputShard],
        done: dict[str, Manifest],
        reuse: Reuse | None,
    ) -> None:
        self.recipe, self.output, self.shards, self.reuse = recipe, output, shards, reuse
        self.pools = started_pools(recipe, reuse)
        self.placements = placements(recipe, [pool.name for pool in self.pools])
        self.ledger = start_ledger([pool.name for pool in self.pools])
        self.exporter = Exporter(output.url) if joins(recipe.run) else None
        self.parts = output.names(PARTS)
        self.expected = next((manifest.engines for manifest in done.values() if manifest.engines), {})
        self.expected = self.expected or next(filter(None, (fingerprints_of(output, name) for name in self.parts)), {})
        self.repeats = repeated_keys(shards, recipe.run) if recipe.filters.repeated_images else {}
        self.preparation = Preparation(recipe, self.pools, self.placements)

    def to_the_end(self, progress: Progress, clock: RunClock) -> None:
        """Runs the graph and commits each shard as soon as all its chunks are there."""
        self.preparation.wait(progress)
        committer = Committer(self.recipe, self.output, progress, clock)
        last = self.pools[-1].name

        def on_tick(snapshot: Snapshot) -> None:
            images = snapshot.stages[last].images
            if not images:
                progress.restart_clock()
            waiting = [stage for stage, counts in snapshot.stages.items() if not counts.workers]
            doing = f"starting workers of {', '.join(waiting)}" if waiting else ""
            progress.show(images, doing, note(snapshot, self.recipe.run.stall_seconds))
            self.tell(snapshot, progress, clock.times)

        requests = [pool.request for pool in self.pools]
        results = follow(self.rows, self.ledger, requests, self.recipe.run.stall_seconds, on_tick)
        try:
            with contextlib.closing(results):
                for row in results:
                    committer.take(from_row(row))
            snapshot = ray.get(self.ledger.snapshot.remote())
            clock.times.stages = {stage: asdict(counts) for stage, counts in snapshot.stages.items()}
            self.tell(snapshot, progress, clock.times)
        finally:
            if self.exporter is not None:
                self.exporter.end()
        ray.kill(self.ledger)
        committer.check_complete(self.shards)

    def tell(self, snapshot: Snapshot, progress: Progress, times: RunTimes) -> None:
        """Tells Prometheus how the run stands."""
        if self.exporter is not None:
            self.exporter.tell_run(snapshot, times)
            self.exporter.tell(SHARDS_LEFT, len(self.shards) - times.shards)
            self.exporter.tell(BYTES_LEFT, progress.total - progress.done)

    def rows(self) -> Iterator[pa.Table]:
        """The graph's results, each block by itself: batching them would take threads, and thrice the driver's time."""
        for bundle in self.graph().iter_internal_ref_bundles():
            for block in bundle.block_refs:
                yield ray.get(block)

    def graph(self) -> ray.data.Dataset:
        """The graph. A chunk is one row, and a block is one row: `target_max_block_size` of one byte keeps it so."""
        set_up_ray_data()
        batches = {"batch_size": 1, "batch_format": "pyarrow", "zero_copy_batch": True}
        reader = ShardReader(self.recipe, self.output, self.parts, self.reuse)
        most = max(pool.request.max_workers for pool in self.pools)
        readers = min(len(self.shards), -(-most // WORKERS_PER_READER))
        graph = ray.data.from_arrow([shard_row(shard) for shard in self.shards]).map_batches(
            reader.__call__,
            compute=ray.data.TaskPoolStrategy(size=readers),
            num_cpus=READER_CPUS,
            **batches,
        )
        for pool in self.pools:
            shared = (self.output, self.expected, self.ledger, self.repeats, self.preparation.tasks[pool.name])
            graph = graph.map_batches(
                PoolWorker,
                fn_constructor_args=(self.recipe, pool, *shared),
                compute=ray.data.ActorPoolStrategy(
                    min_size=pool.request.min_workers, max_size=pool.request.max_workers
                ),
                num_cpus=pool.request.cpus,
                num_gpus=pool.request.gpus or None,
                **self.placements[pool.name],
                **batches,
            )
        return graph


def started_pools(recipe: AnnotateRecipe, reuse: Reuse | None) -> list[Pool]:
    """The pools, on a cluster that has room for them."""
    reused = reuse.kinds if reuse else []
    if recipe.run.recycle_images:  # or Ray calls every worker that is replaced a failed task; of deaths it tells still
        os.environ.setdefault("RAY_enable_output_error_log_if_still_retry", "0")
    if joins(recipe.run):
        connect(recipe.run, 0)
        pools = plan_pools(recipe, reused)
    else:
        pools = plan_pools(recipe, reused)
        cpus = sum(pool.request.max_workers * pool.request.cpus for pool in pools)
        connect(recipe.run, store_bytes(recipe, pools), cpus)
    check([pool.request for pool in pools])
    if (gpus := ray.cluster_resources().get("GPU", 0)) and not any(pool.request.gpus for pool in pools):
        print(f"{gpus:g} GPUs are here and no pool asks for one: see run.resources", file=sys.stderr, flush=True)
    return pools


def store_bytes(recipe: AnnotateRecipe, pools: list[Pool]) -> int:
    """What chunks on their way may take of a laptop's memory: each worker holds one, and has the next at hand."""
    held = 4 + 2 * sum(pool.request.max_workers for pool in pools)
    pixels = 3 * recipe.chunk.pixels if any(pool.keeps_pixels for pool in pools) else 0
    return max(1 << 30, held * (recipe.chunk.bytes + pixels))


def set_up_ray_data() -> None:
    """Settings of Ray Data for graphs of one-row blocks."""
    context = ray.data.DataContext.get_current()
    context.target_max_block_size = 1
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    context.custom_execution_callback_classes = [Forgetful]
    warnings.filterwarnings("ignore", module=r"ray\.data")  # of pools larger than a small input needs
    # Its loop looks at everything ten times a second, which costs a laptop more than one percent of its cores. Workers
    # hold the next chunk already, so that looking less often starves none of them.
    streaming_executor_state.WAIT_FOR_TASK_COMPLETION_TIMEOUT_S = SCHEDULING_SECONDS
    logging.getLogger("ray.data").setLevel(logging.ERROR)  # it logs pages of counters at every step of its loop
    if FuseOperators in (rules := get_physical_ruleset()):
        rules.remove(FuseOperators)  # one reader and one worker of a core would be one stage, and a shard one task


class Committer:
    """Takes the graph's results in whatever order they come and commits each shard when its chunks are all there."""

    def __init__(self, recipe: AnnotateRecipe, output: Folder, progress: Progress, clock: RunClock) -> None:
        self.recipe, self.output, self.progress, self.clock = recipe, output, progress, clock
        self.recipe_sha256 = recipe.sha256()
        self.chunks: dict[str, set[int]] = {}
        self.ends: dict[str, ShardEnd] = {}
        self.committed: set[str] = set()

    def take(self, message: Message) -> None:
        """One result of the graph."""
        match message:
            case Failure():
                raise message.error()
            case Written(shard=shard, index=index):
                self.chunks.setdefault(shard, set()).add(index)
                self._count(message)
            case ShardEnd(shard=shard):
                self.ends[shard] = message
            case Chunk():
                raise AssertionError("the graph's last stage hands on no chunks")
        end = self.ends.get(shard)
        if end is not None and len(self.chunks.get(shard, ())) == len(end.digests):
            started = time.monotonic()
            commit_shard(self.output, end, self.recipe_sha256)
            self.clock.times.commit_seconds += time.monotonic() - started
            self.clock.times.shards += 1
            self.committed.add(shard)
            del self.ends[shard]
            self.chunks.pop(shard, None)
        self.clock.times.resent += message.resent + untold()

    def check_complete(self, shards: list[InputShard]) -> None:
        """Raises when the graph has ended and a shard is not committed: nothing may be lost in silence."""
        if missing := [shard.name for shard in shards if shard.name not in self.committed]:
            raise ShardloomError(
                f"the run ended without {len(missing)} shards ({', '.join(missing[:5])}): run it again"
            )

    def _count(self, written: Written) -> None:
        self.progress.advance(written.size)
        if not written.rows:
            return
        times = self.clock.times
        times.add_chunk(written.rows, written.reasons, written.engine_errors, written.size)
        for engine, errors in times.engine_errors.items():
            rows = sum(times.rows.values())
            if errors > max(10, self.recipe.max_engine_errors * rows):
                raise ShardloomError(
                    f"the {engine} engine failed on {errors} of {rows} images: see the details in "
                    f"{self.output.path(PARTS)}, or raise max_engine_errors"
                )
