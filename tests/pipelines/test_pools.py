"""Pools: their order, what each does, and what each asks of the cluster."""

import pytest

from pipelines import pools as pools_module
from pipelines.cluster import Request, Room
from pipelines.pools import Pool, plan_pools
from pipelines.recipe import AnnotateRecipe, AnnotateRun

ENGINES = {
    "boxes": {"engine": "tests.pipelines.engines:PixelBoxes", "batch_size": 4},
    "ocr": {"engine": "tests.pipelines.engines:PixelOcr"},
    "tags": {"engine": "caption"},
}


def plan(*kinds: str, reused: tuple[str, ...] = (), **engines: object) -> list[Pool]:
    given = {kind: ENGINES[kind] for kind in kinds} | engines
    recipe = AnnotateRecipe.model_validate({"input": "x", "engines": given, "run": {"workers": 2}})
    return plan_pools(recipe, reused)  # type: ignore[arg-type]


def test_one_engine_decodes_for_itself() -> None:
    for kind in ("ocr", "tags"):
        (pool,) = plan(kind)
        assert (pool.name, pool.engine, pool.decodes, pool.keeps_pixels, pool.is_last) == (
            kind,
            kind,
            True,
            False,
            True,
        )
        assert pool.request == Request(kind, 2, 1.0, 0.0)


def test_several_engines_share_one_decode() -> None:
    pools = plan("boxes", "ocr", "tags")
    assert [pool.name for pool in pools] == ["tags", "decode", "ocr", "boxes"]
    assert [pool.decodes for pool in pools] == [False, True, False, False]
    assert [pool.keeps_pixels for pool in pools] == [False, True, True, False]
    assert [pool.is_last for pool in pools] == [False, False, False, True]
    assert [pool.batch_size for pool in pools] == [16, 16, 16, 4]
    requests = [(pool.request.workers, pool.request.cpus) for pool in pools]
    assert requests == [(1, 0.1), (1, 0.1), (2, 0.5), (2, 0.5)]


def test_an_engine_that_sees_comes_after_the_decoding() -> None:
    pools = plan("ocr", tags={"engine": "siglip", "settings": {"weights": "there"}})
    assert [pool.name for pool in pools] == ["decode", "ocr", "tags"]
    pools = plan("ocr", "tags")
    assert [(pool.name, pool.keeps_pixels) for pool in pools] == [("tags", False), ("decode", True), ("ocr", False)]


def test_engines_that_are_reused_get_no_pool() -> None:
    assert [pool.name for pool in plan("ocr", "tags", "boxes", reused=("ocr", "tags"))] == ["decode", "boxes"]
    assert [pool.name for pool in plan("ocr", "tags", reused=("ocr",))] == ["tags", "decode"]
    (pool,) = plan("ocr", "tags", reused=("ocr", "tags"))
    assert (pool.name, pool.engine, pool.decodes, pool.keeps_pixels, pool.is_last) == (
        "decode",
        None,
        True,
        False,
        True,
    )


@pytest.mark.parametrize(("gpus", "workers"), [(0.25, 3), (0.0, 3)])
def test_resources_are_as_asked(gpus: float, workers: int) -> None:
    resources = {"boxes": {"workers": workers, "cpus": 0.75, "gpus": gpus}}
    run = AnnotateRun.model_validate({"workers": 2, "resources": resources})
    pools = plan_pools(AnnotateRecipe.model_validate({"input": "x", "engines": ENGINES, "run": run}))
    assert pools[-1].request == Request("boxes", workers, 0.75, gpus)
    assert pools[-2].request == Request("ocr", 2, 0.5, 0.0)


def test_defaults_fit_the_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    """16 cores and 2 GPUs, the reading apart: what a run gets that says nothing of workers."""
    monkeypatch.setattr(pools_module, "room", lambda _: Room(16.0, 2))

    def workers(**resources: dict[str, float]) -> dict[str, int]:
        values = {"input": "x", "engines": ENGINES, "run": {"resources": resources}}
        return {pool.name: pool.request.workers for pool in plan_pools(AnnotateRecipe.model_validate(values))}

    assert workers() == {"tags": 1, "decode": 1, "ocr": 16, "boxes": 16}
    assert workers(ocr={"cpus": 2}) == {"tags": 1, "decode": 1, "ocr": 4, "boxes": 16}
    assert workers(boxes={"gpus": 1}) == {"tags": 1, "decode": 2, "ocr": 16, "boxes": 2}
    assert workers(boxes={"gpus": 0.4}) == {"tags": 1, "decode": 3, "ocr": 16, "boxes": 4}  # a fraction is of one GPU
    assert workers(ocr={"gpus": 0.5}, boxes={"gpus": 0.5}) == {"tags": 1, "decode": 2, "ocr": 2, "boxes": 2}
    assert workers(boxes={"gpus": 2}) == {"tags": 1, "decode": 1, "ocr": 16, "boxes": 1}
