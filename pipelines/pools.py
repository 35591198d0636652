"""Which pools of actors a run has, what each does to a chunk, and what each gets of the cluster.

One engine is one pool. Decoding has a pool of its own where a recipe has several engines, which share its pixels; a
single engine's workers decode for themselves, which saves a hop. What needs no pixels comes before the decoding.
"""

from collections.abc import Collection
from dataclasses import dataclass

from pipelines.cluster import Request, default_workers
from pipelines.engines import needs_pixels
from pipelines.recipe import AnnotateRecipe, EngineKind, PoolName, PoolOptions

DECODE_BATCH = 16  # images that are decoded in a row where decoding has a pool of its own
CHEAP_CPUS = 0.1  # of a worker that mostly waits: decoding is under 2 % of OCR's work, matching captions nothing


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
    shares: dict[PoolName, float] = {name: 1.0 / len(seeing) for name in seeing}
    shares = shares or {name: 1.0 for name in engines if is_alone}
    names: list[PoolName] = [*engines] if is_alone and engines else [*blind, "decode", *seeing]
    return [
        Pool(
            name,
            engine := None if name == "decode" else name,
            decodes=is_alone or name == "decode",
            keeps_pixels=any(later in seeing for later in names[place + 1 :]) and name not in blind,
            is_last=place == len(names) - 1,
            is_alone=is_alone,
            batch_size=recipe.engines[engine].batch_size if engine else DECODE_BATCH,
            request=_request(recipe, name, shares),
        )
        for place, name in enumerate(names)
    ]


def _request(recipe: AnnotateRecipe, name: PoolName, shares: dict[PoolName, float]) -> Request:
    """What a pool asks of the cluster.

    Engines share cores: each has a worker on every one, so that the slowest takes what the others leave, whatever
    their speeds are. A pool on GPUs has as many workers as fit on them.
    """
    options = recipe.run.resources.get(name, PoolOptions())
    cpus = options.cpus or shares.get(name, CHEAP_CPUS)
    many = default_workers(recipe.run, options.gpus, spare_cpus=2 * CHEAP_CPUS if len(recipe.engines) > 1 else 0)
    return Request(name, options.workers or (many if name in shares else 1), cpus, options.gpus)
