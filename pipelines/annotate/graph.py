"""Builds and runs the Ray Data graph of an annotation run, from image shards to the parts of their annotations."""

import contextlib
from collections.abc import Iterator
from dataclasses import asdict

import pyarrow as pa
import ray
import ray.data

from pipelines.annotate.commits import ShardCommitter
from pipelines.annotate.graph_watch import describe_stalled_stage, describe_start, follow
from pipelines.annotate.messages import decode_message
from pipelines.annotate.metrics import export_run_metrics
from pipelines.annotate.parts import read_fingerprints
from pipelines.annotate.placement import plan_placements
from pipelines.annotate.pools import Pool, plan_pools
from pipelines.annotate.preparation import Preparation
from pipelines.annotate.reader import ShardReader, encode_shard
from pipelines.annotate.repeats import find_repeated_keys
from pipelines.annotate.reuse import Reuse
from pipelines.annotate.worker import PoolWorker
from pipelines.cluster.capacity import READ_TASK_CPUS
from pipelines.cluster.ledger import Snapshot, start_ledger
from pipelines.cluster.prometheus import BYTES_LEFT, SHARDS_LEFT
from pipelines.cluster.ray_data_internals import iterate_blocks, set_up_ray_data
from pipelines.cluster.ray_internals import silence_retried_errors
from pipelines.cluster.runner import Runner
from pipelines.inputs.shards import InputShard
from pipelines.output.job import Context, OutputCommitter
from pipelines.output.totals import RunTimes
from pipelines.recipes.annotate import AnnotateRecipe
from pipelines.terminal.progress import Progress
from schemas.activity import report_activity
from schemas.log import LOG, get_worker_level
from schemas.output_set.layout import PARTS

WORKERS_PER_READER = 8  # a reader is many times faster than 8 OCR workers; more readers would only open more shards


class GraphRun:
    """Runs the graph once, over the shards that are not committed."""

    def __init__(self, recipe: AnnotateRecipe, context: Context, shards: list[InputShard], reuse: Reuse | None) -> None:
        self.recipe, self.output, self.shards, self.reuse = recipe, context.output, shards, reuse
        self.pools = plan_pools_and_connect(recipe, context.runner, reuse)
        self.placements = plan_placements(recipe, [pool.name for pool in self.pools])
        self.ledger = start_ledger([pool.name for pool in self.pools])
        self.exporter = context.runner.make_exporter(context.output.url)
        self.parts = [name for name in self.output.list_files(PARTS) if name.endswith(".parquet")]
        self.expected_fingerprints = next(
            (found.fingerprints for found in context.done.values() if found.fingerprints), {}
        )
        if not self.expected_fingerprints:
            self.expected_fingerprints = next(
                filter(None, (read_fingerprints(self.output, name) for name in self.parts)), {}
            )
        self.logged_notices: set[str] = set()
        self.repeats: dict[str, list[str]] = {}
        if recipe.filters.repeated_images:
            with report_activity("annotate: looking for repeated images"):
                self.repeats = find_repeated_keys(shards, context.runner)
        self.preparation = Preparation(recipe, self.pools, self.placements)

    def carry_out(self, committer: OutputCommitter) -> None:
        """Runs the graph and commits each shard as soon as all its chunks are written."""
        progress, times = committer.progress, committer.times
        self.preparation.wait(progress)
        shard_committer = ShardCommitter(self.recipe, self.output, committer)
        last = self.pools[-1].name

        def on_tick(snapshot: Snapshot) -> None:
            counts, state = snapshot.stages[last], snapshot.states[last]
            if not counts.images and not state.at_work:
                progress.restart_clock()
            shard_committer.show_bytes(state.bytes_done)
            note = describe_stalled_stage(snapshot, self.recipe.run.stall_seconds)
            progress.show(counts.images, describe_start(snapshot), note)
            self.log_notices(snapshot)
            self.export_metrics(snapshot, progress, times)

        requests = [pool.request for pool in self.pools]
        results = follow(self.iterate_rows, self.ledger, requests, self.recipe.run.stall_seconds, on_tick)
        try:
            with contextlib.closing(results):
                for row in results:
                    shard_committer.handle_result(decode_message(row))
            snapshot = ray.get(self.ledger.snapshot.remote())
            self.log_notices(snapshot)
            times.stages = {stage: asdict(counts) for stage, counts in snapshot.stages.items()}
            self.export_metrics(snapshot, progress, times)
        finally:
            if self.exporter is not None:
                self.exporter.reset_stage_gauges()
        ray.kill(self.ledger)
        shard_committer.check_complete(self.shards)

    def log_notices(self, snapshot: Snapshot) -> None:
        """Logs the lines of workers that were not logged before."""
        for line in snapshot.notices:
            if line not in self.logged_notices:
                self.logged_notices.add(line)
                LOG.warning(line)

    def export_metrics(self, snapshot: Snapshot, progress: Progress, times: RunTimes) -> None:
        """Exports the state of the run to Prometheus, if the run has an exporter."""
        if self.exporter is not None:
            export_run_metrics(self.exporter, snapshot, times)
            self.exporter.export(SHARDS_LEFT, len(self.shards) - times.shards)
            self.exporter.export(BYTES_LEFT, progress.total - progress.done)

    def iterate_rows(self) -> Iterator[pa.Table]:
        """Yields the graph's results as they arrive, in tables of one row."""
        return iterate_blocks(self.build_graph())

    def build_graph(self) -> ray.data.Dataset:
        """Builds the graph. A chunk is one row, and a `target_max_block_size` of one byte makes each row one block."""
        set_up_ray_data()
        batches = {"batch_size": 1, "batch_format": "pyarrow", "zero_copy_batch": True}
        reader = ShardReader(self.recipe, self.output, self.parts, self.reuse)
        most = max(pool.request.max_workers for pool in self.pools)
        readers = min(len(self.shards), -(-most // WORKERS_PER_READER))
        graph = ray.data.from_arrow([encode_shard(shard) for shard in self.shards]).map_batches(
            reader.__call__,
            compute=ray.data.TaskPoolStrategy(size=readers),
            num_cpus=READ_TASK_CPUS,
            **batches,
        )
        for pool in self.pools:
            shared = (
                self.output,
                self.expected_fingerprints,
                self.ledger,
                self.repeats,
                self.preparation.tasks[pool.name],
            )
            graph = graph.map_batches(
                PoolWorker,
                fn_constructor_args=(self.recipe, pool, *shared, get_worker_level()),
                compute=ray.data.ActorPoolStrategy(
                    min_size=pool.request.min_workers, max_size=pool.request.max_workers
                ),
                num_cpus=pool.request.cpus,
                num_gpus=pool.request.gpus or None,
                **self.placements[pool.name],
                **batches,
            )
        return graph


def plan_pools_and_connect(recipe: AnnotateRecipe, runner: Runner, reuse: Reuse | None) -> list[Pool]:
    """Plans the pools and connects to a cluster. Raises `UsageError` where the cluster lacks capacity for them."""
    reused = reuse.kinds if reuse else []
    if recipe.run.recycle_images:  # else Ray logs each replaced worker as a failed task; it still logs deaths
        silence_retried_errors()
    pools = plan_pools(recipe, runner, reused)
    cpus = sum(pool.request.max_workers * pool.request.cpus for pool in pools)
    runner.connect(estimate_store_bytes(recipe, pools), cpus)
    runner.check_capacity([pool.request for pool in pools])
    if (gpus := ray.cluster_resources().get("GPU", 0)) and not any(pool.request.gpus for pool in pools):
        LOG.warning(f"{gpus:g} GPUs are available and no pool asks for one: see run.resources")
    return pools


def estimate_store_bytes(recipe: AnnotateRecipe, pools: list[Pool]) -> int:
    """Returns the bytes that the object store of a local cluster needs for chunks between pools.

    Each worker holds the chunk that it works on and the next one.
    """
    held = 4 + 2 * sum(pool.request.max_workers for pool in pools)
    pixels = 3 * recipe.chunk.pixels if any(pool.keeps_pixels for pool in pools) else 0
    return max(1 << 30, held * (recipe.chunk.bytes + pixels))
