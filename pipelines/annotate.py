"""The main job: image shards in, an annotation set out.

read (one task a shard) -> annotate (actor pool, one part a chunk) -> commit (the driver, shard by shard)
"""

import contextlib
import logging
import time
import warnings
from collections.abc import Iterator

import pyarrow as pa
import ray
import ray.data
from ray.data._internal.execution import streaming_executor_state

from pipelines.cluster import READING_CPUS, Pool, check, connect, worker_count
from pipelines.engine_stage import EngineStage
from pipelines.engines import check_engines
from pipelines.inputs import InputShard, input_shards
from pipelines.ledger import Snapshot, start_ledger
from pipelines.messages import Chunk, Failure, Message, ShardEnd, Written, from_row
from pipelines.output import PARTS, begun, committed
from pipelines.parts import commit_shard, fingerprints_of
from pipelines.progress import Progress
from pipelines.recipe import AnnotateRecipe
from pipelines.repeats import repeated_keys
from pipelines.shard_reader import ShardReader, shard_row
from pipelines.stats import RunClock, Totals, check_damage, totals
from pipelines.storage import Folder
from pipelines.watch import follow
from schemas.errors import ShardloomError, UsageError
from schemas.manifest import Manifest

STAGE = EngineStage.name
SCHEDULING_SECONDS = 0.3
WORKERS_PER_READER = 8  # one reader feeds that many OCR workers many times over; more only opens more shards at once


def annotate(recipe: AnnotateRecipe, output: str, quiet: bool = False) -> Totals:
    """Annotates every shard that is not committed yet. Raises `ShardloomError` when it can't be done to the end."""
    folder = Folder(output)
    shards = input_shards(recipe.input, ".tar")
    check_engines(recipe.engines)
    with begun(folder, recipe):
        done = committed(folder)
        check_inputs(shards, done)
        todo = [shard for shard in shards if shard.name not in done]
        if todo:
            clock = RunClock()
            with Progress("annotate", sum(shard.size() for shard in todo), quiet=quiet) as progress:
                run_graph(recipe, folder, todo, done, progress, clock)
            folder.clear(PARTS)
            clock.stop(folder)
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


def run_graph(
    recipe: AnnotateRecipe,
    output: Folder,
    shards: list[InputShard],
    done: dict[str, Manifest],
    progress: Progress,
    clock: RunClock,
) -> None:
    """Runs the graph over the shards and commits each as soon as all its chunks are there."""
    connect(recipe.run, object_store_bytes=max(1 << 30, 16 * recipe.chunk.bytes))
    workers = worker_count(recipe.run)
    check([Pool(STAGE, workers, recipe.run.cpus_per_worker, recipe.run.gpus_per_worker)])
    ledger = start_ledger([STAGE])
    parts = output.names(PARTS)
    expected = next((manifest.engines for manifest in done.values()), None)
    expected = expected or next((prints for name in parts if (prints := fingerprints_of(output, name))), None)
    repeats = repeated_keys(shards, recipe.run) if recipe.filters.repeated_images else {}

    def rows() -> Iterator[pa.Table]:
        graph = build(recipe, output, shards, workers, (output, expected, ledger, repeats), parts)
        # Each block by itself: batching them would take threads, and three times the driver's time.
        for bundle in graph.iter_internal_ref_bundles():
            for block in bundle.block_refs:
                yield ray.get(block)

    def on_tick(snapshot: Snapshot) -> None:
        counts = snapshot.stages[STAGE]
        if not counts.images:
            progress.restart_clock()
        progress.show(counts.images, "" if counts.workers else "starting workers")

    committer = Committer(recipe, output, progress, clock)
    with contextlib.closing(follow(rows, ledger, recipe.run.stall_seconds, on_tick)) as results:
        for row in results:
            committer.take(from_row(row))
    clock.stages(ray.get(ledger.snapshot.remote()))
    ray.kill(ledger)
    committer.check_complete(shards)


def build(
    recipe: AnnotateRecipe,
    output: Folder,
    shards: list[InputShard],
    workers: int,
    engine_arguments: tuple[object, ...],
    parts: list[str],
) -> ray.data.Dataset:
    """The graph. A chunk is one row, and a block is one row: `target_max_block_size` of one byte keeps it so."""
    context = ray.data.DataContext.get_current()
    context.target_max_block_size = 1
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    warnings.filterwarnings("ignore", module=r"ray\.data")  # of pools larger than a small input needs
    # Its loop looks at everything ten times a second, which costs a laptop more than one percent of its cores. Workers
    # hold the next chunk already, so that looking less often starves none of them.
    streaming_executor_state.WAIT_FOR_TASK_COMPLETION_TIMEOUT_S = SCHEDULING_SECONDS
    logging.getLogger("ray.data").setLevel(logging.ERROR)  # it logs pages of counters at every step of its loop
    reader = ShardReader(recipe, output, parts)

    options = {"batch_size": 1, "batch_format": "pyarrow", "zero_copy_batch": True}
    readers = min(len(shards), -(-workers // WORKERS_PER_READER))
    return (
        ray.data.from_arrow([shard_row(shard) for shard in shards])
        .map_batches(
            reader.__call__,
            compute=ray.data.TaskPoolStrategy(size=readers),
            num_cpus=READING_CPUS / readers,
            **options,
        )
        .map_batches(
            EngineStage,
            fn_constructor_args=(recipe, *engine_arguments),
            compute=ray.data.ActorPoolStrategy(size=workers),
            num_cpus=recipe.run.cpus_per_worker,
            num_gpus=recipe.run.gpus_per_worker or None,
            **options,
        )
    )


class Committer:
    """Takes the graph's results in whatever order they come and commits each shard when its chunks are all there."""

    def __init__(self, recipe: AnnotateRecipe, output: Folder, progress: Progress, clock: RunClock) -> None:
        self.recipe, self.output, self.progress, self.clock = recipe, output, progress, clock
        self.recipe_sha256 = recipe.sha256()
        self.chunks: dict[str, set[int]] = {}
        self.ends: dict[str, ShardEnd] = {}
        self.committed: set[str] = set()
        self.annotated = self.engine_errors = 0

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
            self.committed.add(shard)
            del self.ends[shard]
            self.chunks.pop(shard, None)

    def check_complete(self, shards: list[InputShard]) -> None:
        """Raises when the graph has ended and a shard is not committed: nothing may be lost in silence."""
        if missing := [shard.name for shard in shards if shard.name not in self.committed]:
            raise ShardloomError(
                f"the run ended without {len(missing)} shards ({', '.join(missing[:5])}): run it again"
            )

    def _count(self, written: Written) -> None:
        self.progress.advance(written.size)
        self.annotated += written.rows
        self.engine_errors += written.engine_errors
        if self.engine_errors > max(10, self.recipe.max_engine_errors * self.annotated):
            raise ShardloomError(
                f"the engine failed on {self.engine_errors} of {self.annotated} images: see the quarantine's details "
                f"in {self.output.path(PARTS)}, or raise max_engine_errors"
            )


if __name__ == "__main__":
    import sys

    from pipelines.cli import main

    main(["annotate", *sys.argv[1:]])
