"""Plans a run's pools of actors: what each does to a chunk and which share of the cluster it gets.

Each engine is one pool. Where a recipe has several engines, a separate pool decodes and the engines share its pixels.
The workers of a single engine decode for themselves, which saves a hop, unless they wait for a server: it would idle
meanwhile. Engines that need no pixels run before decoding, where they read nothing that is found after it.
"""

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from curation.engines.captions.prompts import PromptTemplate
from curation.engines.registry import ENGINES
from curation.engines.stages import StageName, get_caption_name
from pipelines.annotate.captions.prompts import list_inputs, load_prompt
from pipelines.cluster.capacity import (
    TOLERANCE,
    Node,
    ResourceRequest,
    count_read_cpus,
    describe_shortfall,
    select_nodes,
)
from pipelines.cluster.runner import Runner
from pipelines.engines.loader import (
    add_implied_settings,
    ignores_batches,
    needs_pixels,
    takes_concurrent_calls,
    waits_for_server,
)
from pipelines.recipes.annotate import AnnotateRecipe, EngineOptions, PoolName, PoolOptions

CHUNKS_AT_ONCE = 2  # of a worker whose engine takes concurrent calls: one begins while the other's last answers come
QUEUED_CHUNKS = 3  # for each worker: the one that it works on and two more, since one may be a shard's short last chunk
DECODE_BATCH = 16  # images that a worker decodes in a row where decoding has a separate pool
LIGHT_WORKER_CPUS = 0.1  # of a worker that mostly waits: decoding is under 2 % of OCR's work, caption matching is free
MIN_CPUS = 0.01  # to which default requests of cores are lowered
DECODERS_PER_CPU_WORKER = 1 / 32  # a core decodes 200 images of 512 x 512 pixels a second; OCR reads two or three
DECODERS_PER_GPU_WORKER = 1 / 2


@dataclass(frozen=True, slots=True)
class Pool:
    """Describes one stage of the graph: what it does to a chunk, and its workers."""

    name: PoolName
    engine: StageName | None
    options: EngineOptions | None  # of the engine, with the settings that an older set implies
    trusted: str | None  # the reference that its workers trust, where the engine is the user's code
    decodes: bool
    keeps_pixels: bool  # for later pools
    is_last: bool
    is_only_engine: bool  # the recipe's only engine: a sample that it fails on is left out
    batch_size: int
    unit: int  # samples that one worker must annotate together
    request: ResourceRequest
    prompt: PromptTemplate | None = None  # of a caption
    captions: tuple[StageName, ...] = ()  # that this run writes, in any pool: their tokens count
    chunks_at_once: int = 1  # on which a worker works

    @property
    def chunks_held(self) -> int:
        """Returns the chunks that a worker holds: those that it works on, and the next ones."""
        return QUEUED_CHUNKS - 1 + self.chunks_at_once


def plan_pools(recipe: AnnotateRecipe, runner: Runner, reused: Collection[StageName] = ()) -> list[Pool]:
    """Returns the pools in their order. Engines in `reused`, whose annotations exist already, get none."""
    stages = recipe.stages
    engines = [stage for stage in stages if stage not in reused]
    seeing = [stage for stage in engines if needs_pixels(stage, stages[stage])]
    early = _list_early(recipe, engines, seeing)
    late = [stage for stage in engines if stage not in early]
    busy = [stage for stage in engines if not waits_for_server(stage, stages[stage])]
    is_alone = len(stages) == 1
    decodes_itself = is_alone and bool(busy)
    names: list[PoolName] = [*engines] if decodes_itself else [*early, "decode", *late]
    heavy = [stage for stage in seeing if stage in busy] or (busy if is_alone else [])
    requests = _plan_requests(recipe, runner, names, heavy, waiting=[stage for stage in engines if stage not in busy])
    return [
        Pool(
            name,
            engine := None if name == "decode" else name,
            add_implied_settings(engine, stages[engine]) if engine else None,
            ENGINES.find_reference(stages[engine].engine) if engine else None,
            decodes=decodes_itself or name == "decode",
            keeps_pixels=any(later in seeing for later in names[place + 1 :]) and name not in early,
            is_last=place == len(names) - 1,
            is_only_engine=is_alone,
            batch_size=stages[engine].batch_size if engine else DECODE_BATCH,
            unit=stages[engine].batch_size if engine and not ignores_batches(engine, stages[engine]) else 1,
            request=requests[name],
            prompt=load_prompt(recipe.engines, engine) if engine else None,
            captions=tuple(filter(get_caption_name, engines)),
            chunks_at_once=CHUNKS_AT_ONCE if engine and takes_concurrent_calls(engine, stages[engine]) else 1,
        )
        for place, name in enumerate(names)
    ]


def _list_early(recipe: AnnotateRecipe, engines: Sequence[StageName], seeing: Sequence[StageName]) -> list[StageName]:
    """Returns the engines that run before decoding: they need no pixels, nor what a later engine finds."""
    early: list[StageName] = []
    for stage in engines:
        waited_for = [name for name in list_inputs(recipe.engines, stage) if name in engines and name not in early]
        if stage not in seeing and not waited_for:
            early.append(stage)
    return early


def _plan_requests(
    recipe: AnnotateRecipe,
    runner: Runner,
    names: list[PoolName],
    heavy: Sequence[PoolName],
    waiting: Sequence[PoolName] = (),
) -> dict[PoolName, ResourceRequest]:
    """Returns the workers that each pool requests of the cluster.

    Engines share cores: each has a worker on every core, so that the slowest engine gets what the others leave idle.
    Pools on GPUs share the GPUs equally, with as many workers as fit. Nodes that offer to run certain pools are shared
    by those pools. Engines that are `waiting` for a server have as many workers as the recipe says, or one.
    """
    options = {name: recipe.find_resources(name) for name in names}
    nodes = runner.list_nodes()
    places = {name: select_nodes(name, nodes) for name in names}
    spare = count_read_cpus(nodes) + (
        LIGHT_WORKER_CPUS * (len(names) - len(heavy)) if runner.uses_external_cluster else 0
    )
    requests: dict[PoolName, ResourceRequest] = {}
    for name in heavy:
        sharing = [other for other in heavy if set(places[other]) & set(places[name])]
        cpus, gpus = options[name].cpus or 1.0 / len(sharing), options[name].gpus
        many = sum(node.count_fitting(cpus, gpus) for node in places[name])
        taken = cpus
        if gpus:
            many //= sum(options[other].gpus > 0 for other in sharing)
            taken += LIGHT_WORKER_CPUS * DECODERS_PER_GPU_WORKER if "decode" in names else 0
        if (
            not gpus or runner.uses_external_cluster
        ):  # a local cluster is started with the cores that its GPU workers request
            many = min(many, int((_sum_cpus(places[name]) - spare) / len(sharing) / taken + TOLERANCE))
        fewest, most = _size_pool(options[name], recipe.run.workers, max(1, many))
        requests[name] = ResourceRequest(name, fewest, most, cpus, gpus)
    decoders = sum(
        request.max_workers * (DECODERS_PER_GPU_WORKER if request.gpus else DECODERS_PER_CPU_WORKER)
        for request in requests.values()
    )
    for name in (name for name in names if name not in heavy):
        workers = recipe.run.workers if name in waiting else None
        fewest, most = _size_pool(options[name], workers, max(1, math.ceil(decoders)) if name == "decode" else 1)
        requests[name] = ResourceRequest(
            name, fewest, most, options[name].cpus or LIGHT_WORKER_CPUS, options[name].gpus
        )
    if not runner.uses_external_cluster:  # a local one is started with what is requested
        return requests
    requests = {name: requests[name] for name in names}
    if recipe.run.workers is None:
        free = [name for name in heavy if not (options[name].workers or options[name].min)]
        requests = _lower_workers(requests, free, nodes)
    return _lower_cpus(requests, [name for name in names if options[name].cpus is None], nodes)


def _lower_workers(
    requests: dict[PoolName, ResourceRequest], free: Sequence[PoolName], nodes: Sequence[Node]
) -> dict[PoolName, ResourceRequest]:
    """Lowers the workers of the `free` pools by tenths until all requests fit on the nodes as Ray spreads them."""
    while describe_shortfall(list(requests.values()), nodes) and any(requests[name].min_workers > 1 for name in free):
        for name in free:
            many = max(1, requests[name].min_workers * 9 // 10)
            most = many if requests[name].max_workers == requests[name].min_workers else requests[name].max_workers
            requests[name] = replace(requests[name], min_workers=many, max_workers=most)
    return requests


def _lower_cpus(
    requests: dict[PoolName, ResourceRequest], free: Sequence[PoolName], nodes: Sequence[Node]
) -> dict[PoolName, ResourceRequest]:
    """Lowers the cores of the `free` pools, whose recipe says none, by tenths until a worker of each fits on the nodes.

    Returns the requests unchanged where that helps nothing: too many workers, or too few GPUs.
    """
    lowered = requests
    while describe_shortfall([replace(request, min_workers=1) for request in lowered.values()], nodes):
        lowered = {
            name: replace(request, cpus=max(MIN_CPUS, math.floor(90 * request.cpus) / 100)) if name in free else request
            for name, request in lowered.items()
        }
        if all(lowered[name].cpus == MIN_CPUS for name in free):
            return requests
    return lowered


def _size_pool(options: PoolOptions, workers: int | None, fair_share: int) -> tuple[int, int]:
    """Returns the minimum and the maximum of a pool's workers; its share of the cluster is `fair_share`."""
    if options.min is not None or options.max is not None:
        fewest = options.min or 1
        return fewest, options.max or max(fewest, fair_share)
    return (options.workers or workers or fair_share,) * 2


def _sum_cpus(nodes: Sequence[Node]) -> float:
    return sum(node.cpus for node in nodes)
