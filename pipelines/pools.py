"""Which pools of actors a run has, what each does to a chunk, and what each gets of the cluster.

One engine is one pool. Decoding has a pool of its own where a recipe has several engines, which share its pixels; a
single engine's workers decode for themselves, which saves a hop. What needs no pixels comes before the decoding.
"""

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from pipelines.cluster import Request, joins, room
from pipelines.engines import needs_pixels
from pipelines.recipe import AnnotateRecipe, EngineKind, PoolName, PoolOptions

DECODE_BATCH = 16  # images that are decoded in a row where decoding has a pool of its own
CHEAP_CPUS = 0.1  # of a worker that mostly waits: decoding is under 2 % of OCR's work, matching captions nothing
DECODERS_A_CPU_WORKER = 1 / 32  # a core decodes 200 pictures of 512 pixels a second; OCR reads two or three
DECODERS_A_GPU_WORKER = 1 / 2
EXACT = 1e-9  # sums of fractions of cores are not


@dataclass(frozen=True, slots=True)
class Pool:
    """One stage of the graph: what it does to a chunk, and its workers."""

    name: PoolName
    engine: EngineKind | None
    decodes: bool
    keeps_pixels: bool  # for pools that come later
    is_last: bool
    is_alone: bool  # the recipe's one engine: a sample that it fails on has nothing to stay for
    batch_size: int
    request: Request


def plan_pools(recipe: AnnotateRecipe, reused: Collection[EngineKind] = ()) -> list[Pool]:
    """The pools in their order; engines whose annotations are there already get none."""
    engines = [kind for kind in recipe.engines if kind not in reused]
    blind = [kind for kind in engines if not needs_pixels(recipe.engines[kind])]
    seeing = [kind for kind in engines if kind not in blind]
    is_alone = len(recipe.engines) == 1
    names: list[PoolName] = [*engines] if is_alone and engines else [*blind, "decode", *seeing]
    requests = _requests(recipe, names, heavy=seeing or (engines if is_alone else []))
    return [
        Pool(
            name,
            engine := None if name == "decode" else name,
            decodes=is_alone or name == "decode",
            keeps_pixels=any(later in seeing for later in names[place + 1 :]) and name not in blind,
            is_last=place == len(names) - 1,
            is_alone=is_alone,
            batch_size=recipe.engines[engine].batch_size if engine else DECODE_BATCH,
            request=requests[name],
        )
        for place, name in enumerate(names)
    ]


def _requests(recipe: AnnotateRecipe, names: list[PoolName], heavy: Sequence[PoolName]) -> dict[PoolName, Request]:
    """What the pools ask of the cluster.

    Engines share cores: each has a worker on every one, so that the slowest takes what the others leave, whatever
    their speeds are. Pools on GPUs share these alike, with as many workers as fit.
    """
    options = {name: recipe.run.resources.get(name, PoolOptions()) for name in names}
    has = room(recipe.run)
    spare = CHEAP_CPUS * (len(names) - len(heavy))
    sharing = sum(options[name].gpus > 0 for name in heavy)
    requests: dict[PoolName, Request] = {}
    for name in heavy:
        cpus, gpus = options[name].cpus or 1.0 / len(heavy), options[name].gpus
        if gpus:  # a fraction lies on one GPU
            fit = has.gpus * int(1 / gpus + EXACT) if gpus <= 1 else int(has.gpus / gpus + EXACT)
            many = fit // sharing
        else:
            many = int((has.cpus - spare if joins(recipe.run) else has.cpus) / len(heavy) / cpus + EXACT)
        workers = options[name].workers or recipe.run.workers or max(1, many)
        requests[name] = Request(name, workers, cpus, gpus)
    decoders = sum(
        request.workers * (DECODERS_A_GPU_WORKER if request.gpus else DECODERS_A_CPU_WORKER)
        for request in requests.values()
    )
    for name in (name for name in names if name not in heavy):
        workers = options[name].workers or (max(1, math.ceil(decoders)) if name == "decode" else 1)
        requests[name] = Request(name, workers, options[name].cpus or CHEAP_CPUS, options[name].gpus)
    return requests
