"""Plans a run's pools of actors: what each does to a chunk and which share of the cluster it gets.

Each engine is one pool. Where a recipe has several engines, a separate pool decodes and the engines share its pixels.
The workers of a single engine decode for themselves, which saves a hop. Engines that need no pixels run before
decoding.
"""

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from curation.engines.kinds import EngineKind
from curation.engines.registry import ENGINES
from pipelines.cluster.capacity import EXACT, READING_CPUS, Node, Request, lacking, nodes_for
from pipelines.cluster.runner import Runner
from pipelines.engines.chosen import needs_pixels
from pipelines.recipes.annotate import AnnotateRecipe, PoolName, PoolOptions

DECODE_BATCH = 16  # images that a worker decodes in a row where decoding has a separate pool
CHEAP_CPUS = 0.1  # of a worker that mostly waits: decoding is under 2 % of OCR's work, caption matching is free
DECODERS_A_CPU_WORKER = 1 / 32  # a core decodes 200 images of 512 x 512 pixels a second; OCR reads two or three
DECODERS_A_GPU_WORKER = 1 / 2


@dataclass(frozen=True, slots=True)
class Pool:
    """Describes one stage of the graph: what it does to a chunk, and its workers."""

    name: PoolName
    engine: EngineKind | None
    trusted: str | None  # the reference that its workers trust, where the engine is the user's code
    decodes: bool
    keeps_pixels: bool  # for later pools
    is_last: bool
    is_alone: bool  # the recipe's only engine: a sample that it fails on is left out
    batch_size: int
    request: Request


def plan_pools(recipe: AnnotateRecipe, runner: Runner, reused: Collection[EngineKind] = ()) -> list[Pool]:
    """Returns the pools in their order. Engines in `reused`, whose annotations exist already, get none."""
    engines = [kind for kind in recipe.engines if kind not in reused]
    blind = [kind for kind in engines if not needs_pixels(kind, recipe.engines[kind])]
    seeing = [kind for kind in engines if kind not in blind]
    is_alone = len(recipe.engines) == 1
    names: list[PoolName] = [*engines] if is_alone and engines else [*blind, "decode", *seeing]
    requests = _requests(recipe, runner, names, heavy=seeing or (engines if is_alone else []))
    return [
        Pool(
            name,
            engine := None if name == "decode" else name,
            ENGINES.reference_of(recipe.engines[engine].engine) if engine else None,
            decodes=is_alone or name == "decode",
            keeps_pixels=any(later in seeing for later in names[place + 1 :]) and name not in blind,
            is_last=place == len(names) - 1,
            is_alone=is_alone,
            batch_size=recipe.engines[engine].batch_size if engine else DECODE_BATCH,
            request=requests[name],
        )
        for place, name in enumerate(names)
    ]


def _requests(
    recipe: AnnotateRecipe, runner: Runner, names: list[PoolName], heavy: Sequence[PoolName]
) -> dict[PoolName, Request]:
    """Returns the workers that each pool requests of the cluster.

    Engines share cores: each has a worker on every core, so that the slowest engine gets what the others leave idle.
    Pools on GPUs share the GPUs equally, with as many workers as fit. Nodes that offer to run certain pools are shared
    by those pools.
    """
    options = {name: recipe.run.resources.get(name, PoolOptions()) for name in names}
    there = runner.nodes()
    places = {name: nodes_for(name, there) for name in names}
    spare = READING_CPUS + (CHEAP_CPUS * (len(names) - len(heavy)) if runner.is_joined else 0)
    requests: dict[PoolName, Request] = {}
    for name in heavy:
        sharing = [other for other in heavy if set(places[other]) & set(places[name])]
        cpus, gpus = options[name].cpus or 1.0 / len(sharing), options[name].gpus
        many = sum(node.fit(cpus, gpus) for node in places[name])
        taken = cpus
        if gpus:
            many //= sum(options[other].gpus > 0 for other in sharing)
            taken += CHEAP_CPUS * DECODERS_A_GPU_WORKER if "decode" in names else 0
        if not gpus or runner.is_joined:  # a local cluster is started with the cores that its GPU workers request
            many = min(many, int((_cpus(places[name]) - spare) / len(sharing) / taken + EXACT))
        fewest, most = _sizes(options[name], recipe.run.workers, max(1, many))
        requests[name] = Request(name, fewest, most, cpus, gpus)
    decoders = sum(
        request.max_workers * (DECODERS_A_GPU_WORKER if request.gpus else DECODERS_A_CPU_WORKER)
        for request in requests.values()
    )
    for name in (name for name in names if name not in heavy):
        fewest, most = _sizes(options[name], None, max(1, math.ceil(decoders)) if name == "decode" else 1)
        requests[name] = Request(name, fewest, most, options[name].cpus or CHEAP_CPUS, options[name].gpus)
    if runner.is_joined and recipe.run.workers is None:
        free = [name for name in heavy if not (options[name].workers or options[name].min)]
        return _fitting({name: requests[name] for name in names}, free, there)
    return requests


def _fitting(
    requests: dict[PoolName, Request], free: Sequence[PoolName], there: Sequence[Node]
) -> dict[PoolName, Request]:
    """Lowers the workers of the `free` pools by tenths until all requests fit on the nodes as Ray spreads them."""
    while lacking(list(requests.values()), there) and any(requests[name].min_workers > 1 for name in free):
        for name in free:
            many = max(1, requests[name].min_workers * 9 // 10)
            most = many if requests[name].max_workers == requests[name].min_workers else requests[name].max_workers
            requests[name] = replace(requests[name], min_workers=many, max_workers=most)
    return requests


def _sizes(options: PoolOptions, workers: int | None, many: int) -> tuple[int, int]:
    """Returns the minimum and the maximum of a pool's workers; its share of the cluster is `many`."""
    if options.min is not None or options.max is not None:
        fewest = options.min or 1
        return fewest, options.max or max(fewest, many)
    return (options.workers or workers or many,) * 2


def _cpus(there: Sequence[Node]) -> float:
    return sum(node.cpus for node in there)
