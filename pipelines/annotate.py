"""The main job: image shards in, an annotation set out.

read (one task a shard) -> annotate (actor pool) -> write (one task a chunk) -> commit (the driver, shard by shard)
"""

import contextlib
import json
import logging
import time
import warnings
from collections.abc import Iterator

import pyarrow as pa
import ray
import ray.data

from pipelines.chunks import ROW, Chunk, Failure, ShardEnd, failure_row, from_row
from pipelines.cluster import PLUMBING_CPUS, Pool, check, connect, worker_count
from pipelines.engine_stage import EngineStage
from pipelines.engines import check_engines
from pipelines.inputs import InputShard, input_shards
from pipelines.ledger import Snapshot, start_ledger
from pipelines.output import PARTS, begun, committed
from pipelines.parts import commit_shard, fingerprints_of, write_part
from pipelines.progress import Progress
from pipelines.recipe import AnnotateRecipe
from pipelines.repeats import repeated_keys
from pipelines.shard_reader import ShardReader, shard_row
from pipelines.stats import RunClock, Totals, check_damage, totals
from pipelines.storage import Folder
from pipelines.watch import follow
from schemas.errors import ShardloomError, UsageError
from schemas.manifest import Manifest
from schemas.quarantine import Reason

STAGE = EngineStage.name
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
        graph = build(recipe, output, shards, workers, (expected, ledger, repeats), parts)
        return iter(graph.iter_batches(batch_size=1, batch_format="pyarrow", prefetch_batches=0))

    def on_tick(snapshot: Snapshot) -> None:
        counts = snapshot.stages[STAGE]
        if not counts.images:
            progress.restart_clock()
        progress.show(counts.images, "" if counts.workers else "starting workers")

    committer = Committer(recipe, output, progress, clock)
    with contextlib.closing(follow(rows, ledger, recipe.run.stall_seconds, on_tick)) as results:
        for row in results:
            committer.take(row)
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
    logging.getLogger("ray.data").setLevel(logging.ERROR)  # it logs pages of counters at every step of its loop
    reader = ShardReader(recipe, output, parts)
    recipe_sha256 = recipe.sha256()

    def write(row: pa.Table) -> pa.Table:
        return write_chunk(row, output, recipe_sha256)

    options = {"batch_size": 1, "batch_format": "pyarrow", "zero_copy_batch": True}
    readers = min(len(shards), -(-workers // WORKERS_PER_READER))
    return (
        ray.data.from_arrow([shard_row(shard) for shard in shards])
        .map_batches(
            reader.__call__,
            compute=ray.data.TaskPoolStrategy(size=readers),
            num_cpus=PLUMBING_CPUS / readers,
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
        .map_batches(write, compute=ray.data.TaskPoolStrategy(size=2), num_cpus=PLUMBING_CPUS / 2, **options)
    )


def write_chunk(row: pa.Table, output: Folder, recipe_sha256: str) -> pa.Table:
    """Writes a chunk's part; what goes on to the driver is small: how many rows, and what became of them."""
    chunk = from_row(row)
    if not isinstance(chunk, Chunk):
        return row
    note = {"rows": 0, "engine_errors": 0, "size": chunk.size}
    if chunk.table is not None:
        try:
            write_part(output, chunk, recipe_sha256)
        except ShardloomError as error:
            return failure_row(error)
        reasons = chunk.table["reason"].to_pylist()
        note |= {"rows": len(reasons), "engine_errors": reasons.count(Reason.ENGINE_ERROR)}
    empty = pa.nulls(1, pa.large_binary())
    return pa.Table.from_arrays(
        [pa.array([chunk.shard]), pa.array([chunk.index], pa.int32()), pa.array([json.dumps(note)]), empty], schema=ROW
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

    def take(self, row: pa.Table) -> None:
        """One result of the graph: a written chunk, or the end of a shard."""
        shard, index = row["shard"][0].as_py(), row["index"][0].as_py()
        if index >= 0:
            self.chunks.setdefault(shard, set()).add(index)
            self._count(json.loads(row["note"][0].as_py()))
        elif isinstance(special := from_row(row), Failure):
            raise special.error()
        elif isinstance(special, ShardEnd):
            self.ends[shard] = special
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

    def _count(self, note: dict[str, int]) -> None:
        self.progress.advance(note["size"])
        self.annotated += note["rows"]
        self.engine_errors += note["engine_errors"]
        if self.engine_errors > max(10, self.recipe.max_engine_errors * self.annotated):
            raise ShardloomError(
                f"the engine failed on {self.engine_errors} of {self.annotated} images: see the quarantine's details "
                f"in {self.output.path(PARTS)}, or raise max_engine_errors"
            )


if __name__ == "__main__":
    import sys

    from pipelines.cli import main

    main(["annotate", *sys.argv[1:]])
