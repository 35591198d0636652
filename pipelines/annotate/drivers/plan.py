"""Plans an annotation run: its pools, where they run, and what all graphs of the run are built from."""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import ray

from pipelines.annotate.drivers.share import count_drivers, count_readers, divide_pools, give_each_a_worker
from pipelines.annotate.parts import read_fingerprints
from pipelines.annotate.placement import plan_placements
from pipelines.annotate.pools import Pool, plan_pools
from pipelines.annotate.preparation import Preparation
from pipelines.annotate.repeats import find_repeated_keys
from pipelines.annotate.retries.rows import RetriedRows
from pipelines.annotate.reuse import Reuse
from pipelines.annotate.slices import TailPlan, plan_tail
from pipelines.cluster.ray_internals import silence_retried_errors
from pipelines.cluster.runner import Runner
from pipelines.inputs.shards import InputShard
from pipelines.output.job import Context
from pipelines.recipes.annotate import AnnotateRecipe, PoolName
from schemas.activity import report_activity
from schemas.log import LOG, get_worker_level
from schemas.output_set.layout import PARTS
from schemas.records.fingerprint import EngineFingerprint
from schemas.storage.folder import Folder


@dataclass(frozen=True, slots=True)
class Work:
    """Describes what a run has to do."""

    recipe: AnnotateRecipe
    context: Context
    shards: list[InputShard]  # all of the input, among which an image may be repeated
    todo: list[InputShard]  # those that are not committed
    reuse: Reuse | None
    retried: RetriedRows | None = None  # of committed shards, to work on alone; None: all rows


@dataclass(frozen=True, slots=True)
class GraphPlan:
    """Holds what a graph is built from, apart from its shards and its ledger. It can be sent to other processes."""

    recipe: AnnotateRecipe
    output: Folder
    drivers: int
    pools: list[Pool]  # of all drivers
    placements: Mapping[PoolName, dict[str, Any]]
    prepared: Mapping[PoolName, ray.ObjectRef | None]  # what the workers of an engine share
    parts: frozenset[str]  # names of the parts that an earlier run has left
    expected: Mapping[str, EngineFingerprint]  # the fingerprints of the set's engines; empty for a new set
    repeats: dict[str, list[str]]  # shard -> keys of the images that repeat earlier ones
    reuse: Reuse | None
    tail: TailPlan
    owns_cluster: bool  # a local one, of one node, that nobody else uses
    log_level: int
    retried: RetriedRows | None = None


def make_plan(work: Work) -> tuple[GraphPlan, Preparation]:
    """Connects to the cluster and plans the run. Also starts what the engines prepare."""
    recipe, context = work.recipe, work.context
    drivers, pools = plan_pools_and_connect(recipe, context.runner, len(work.todo), work.reuse)
    placements = plan_placements(recipe, [pool.name for pool in pools])
    parts = [name for name in context.output.list_files(PARTS) if name.endswith(".parquet")]
    repeats: dict[str, list[str]] = {}
    if recipe.filters.repeated_images:
        with report_activity("annotate: looking for repeated images"):
            repeats = find_repeated_keys(work.shards, context.runner)
    preparation = Preparation(recipe, pools, placements)
    plan = GraphPlan(
        recipe=recipe,
        output=context.output,
        drivers=drivers,
        pools=pools,
        placements=placements,
        prepared=preparation.tasks,
        parts=frozenset(parts),
        expected=find_fingerprints(context, parts),
        repeats=repeats,
        reuse=work.reuse,
        tail=plan_last_chunks(recipe, pools, drivers, work.todo),
        owns_cluster=not context.runner.uses_external_cluster,
        log_level=get_worker_level(),
        retried=work.retried,
    )
    return plan, preparation


def plan_last_chunks(recipe: AnnotateRecipe, pools: list[Pool], drivers: int, shards: list[InputShard]) -> TailPlan:
    """Plans how the last chunks of the run are shared by workers."""
    workers = max(pool.request.max_workers * pool.chunks_at_once for pool in pools)
    readers = sum(count_readers(share.pools) for share in divide_pools(pools, drivers))
    return plan_tail(shards, recipe.chunk.bytes, workers, readers, [pool.unit for pool in pools])


def find_fingerprints(context: Context, parts: list[str]) -> Mapping[str, EngineFingerprint]:
    """Returns the fingerprints of the engines that the set was started with, by its manifests or else by its parts."""
    committed = (manifest.fingerprints for manifest in context.done.values())
    in_parts = (read_fingerprints(context.output, name) for name in parts)
    return next(filter(None, itertools.chain(committed, in_parts)), {})


def plan_pools_and_connect(
    recipe: AnnotateRecipe, runner: Runner, shards: int, reuse: Reuse | None
) -> tuple[int, list[Pool]]:
    """Plans the drivers and the pools of all of them, and connects to a cluster.

    Raises `UsageError` where the cluster lacks capacity for them.
    """
    reused = reuse.stages if reuse else []
    if recipe.run.recycle_images:  # else Ray logs each replaced worker as a failed task; it still logs deaths
        silence_retried_errors()
    pools = plan_pools(recipe, runner, reused)
    asked = 1 if recipe.run.claim else recipe.run.drivers
    if (drivers := count_drivers(asked, pools, shards)) > 1:
        pools = give_each_a_worker(pools, drivers)
    cpus = sum(pool.request.max_workers * pool.request.cpus for pool in pools)
    runner.connect(estimate_store_bytes(recipe, pools), cpus)
    runner.check_capacity([pool.request for pool in pools])
    if (gpus := ray.cluster_resources().get("GPU", 0)) and not any(pool.request.gpus for pool in pools):
        LOG.warning(f"{gpus:g} GPUs are available and no pool asks for one: see run.resources")
    return drivers, pools


def estimate_store_bytes(recipe: AnnotateRecipe, pools: list[Pool]) -> int:
    """Returns the bytes that the object store of a local cluster needs for chunks between pools.

    Each worker holds the chunks that it works on and as many more; where it holds another, that is a short one.
    """
    held = 4 + 2 * sum(pool.request.max_workers * pool.chunks_at_once for pool in pools)
    pixels = 3 * recipe.chunk.pixels if any(pool.keeps_pixels for pool in pools) else 0
    return max(1 << 30, held * (recipe.chunk.bytes + pixels))
