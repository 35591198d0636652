"""Pools: their order, what each does, and what each asks of the cluster."""

from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from curation.engines.ocr.runtime.onnx_sessions import plan_arena_bytes
from pipelines.annotate.drivers.graph import make_strategy
from pipelines.annotate.pools import Pool, plan_pools
from pipelines.cluster.capacity import Node, ResourceRequest, describe_shortfall, suggest_requests
from pipelines.cluster.runner import ExecutionMode, Runner
from pipelines.recipes.annotate import AnnotateRecipe, AnnotateRun
from pipelines.recipes.base import RunOptions, load_recipe
from schemas.errors import UsageError

pytestmark = pytest.mark.usefixtures("own_engines")

ENGINES = {
    "boxes": {"engine": "PixelBoxes", "batch_size": 4},
    "ocr": {"engine": "PixelOcr"},
    "tags": {"engine": "caption"},
}


@dataclass(frozen=True)
class Fixed(Runner):
    """A runner at this place, on these nodes."""

    there: tuple[Node, ...] = (Node(3.0),)

    def list_nodes(self) -> list[Node]:
        return list(self.there)


def at(*there: Node, joined: bool = False) -> Fixed:
    """A runner on these nodes, or on two cores."""
    place = ExecutionMode.EXTERNAL_CLUSTER if joined else ExecutionMode.LOCAL_CLUSTER
    return Fixed(RunOptions(), place, there or (Node(3.0),))


def plan(*kinds: str, reused: tuple[str, ...] = (), **engines: object) -> list[Pool]:
    given = {kind: ENGINES[kind] for kind in kinds} | engines
    recipe = AnnotateRecipe.model_validate({"input": "x", "engines": given, "run": {"workers": 2}})
    return plan_pools(recipe, at(), reused)  # type: ignore[arg-type]


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
        assert pool.request == ResourceRequest(kind, 2, 2, 1.0, 0.0)


def test_a_worker_holds_two_chunks_beside_the_one_at_work() -> None:
    """One of them may be the message that ends a shard, which takes no time, before the driver has sent another."""
    assert make_strategy(*plan("ocr")).max_tasks_in_flight_per_actor == 3


def test_batches_are_kept_for_engines_that_they_matter_to() -> None:
    assert [
        (pool.name, pool.batch_size, pool.unit) for pool in plan("tags", "ocr", "boxes", ocr={"engine": "rapidocr"})
    ] == [
        ("tags", 16, 1),
        ("decode", 16, 1),
        ("ocr", 16, 1),
        ("boxes", 4, 4),
    ]


def test_several_engines_share_one_decode() -> None:
    pools = plan("boxes", "ocr", "tags")
    assert [pool.name for pool in pools] == ["tags", "decode", "ocr", "boxes"]
    assert [pool.decodes for pool in pools] == [False, True, False, False]
    assert [pool.keeps_pixels for pool in pools] == [False, True, True, False]
    assert [pool.is_last for pool in pools] == [False, False, False, True]
    assert [pool.batch_size for pool in pools] == [16, 16, 16, 4]
    requests = [(pool.request.max_workers, pool.request.cpus) for pool in pools]
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
    pools = plan_pools(AnnotateRecipe.model_validate({"input": "x", "engines": ENGINES, "run": run}), at())
    assert pools[-1].request == ResourceRequest("boxes", workers, workers, 0.75, gpus)
    assert pools[-2].request == ResourceRequest("ocr", 2, 2, 0.5, 0.0)


def sizes(runner: Runner, resources: dict[str, dict[str, float]], **run: int) -> dict[str, tuple[int, int]]:
    """The fewest and the most workers of each pool of all three engines."""
    values = {"input": "x", "engines": ENGINES, "run": {"resources": resources} | run}
    pools = plan_pools(AnnotateRecipe.model_validate(values), runner)
    return {pool.name: (pool.request.min_workers, pool.request.max_workers) for pool in pools}


def test_defaults_fit_the_cluster() -> None:
    """16 cores and 2 GPUs, the reading apart: what a run gets that says nothing of workers."""

    def workers(**resources: dict[str, float]) -> dict[str, int]:
        found = sizes(at(Node(17.0, 2)), resources)
        assert all(fewest == most for fewest, most in found.values()), "they don't grow unasked"
        return {name: most for name, (_, most) in found.items()}

    assert workers() == {"tags": 1, "decode": 1, "ocr": 16, "boxes": 16}
    assert workers(ocr={"cpus": 2}) == {"tags": 1, "decode": 1, "ocr": 4, "boxes": 16}
    assert workers(boxes={"gpus": 1}) == {"tags": 1, "decode": 2, "ocr": 16, "boxes": 2}
    assert workers(boxes={"gpus": 0.4}) == {"tags": 1, "decode": 3, "ocr": 16, "boxes": 4}  # a fraction is of one GPU
    assert workers(ocr={"gpus": 0.5}, boxes={"gpus": 0.5}) == {"tags": 1, "decode": 2, "ocr": 2, "boxes": 2}
    assert workers(boxes={"gpus": 2}) == {"tags": 1, "decode": 1, "ocr": 16, "boxes": 1}


@pytest.mark.parametrize("joined", [False, True])
def test_four_workers_share_a_gpu_and_its_memory(joined: bool) -> None:
    """Of RapidOCR on two GPUs: each may fill a quarter of one, with two networks."""
    ocr = {"engine": "rapidocr", "settings": {"device": "cuda"}}
    run = {"resources": {"ocr": {"gpus": 0.25, "cpus": 1}}}
    recipe = AnnotateRecipe.model_validate({"input": "x", "engines": {"ocr": ocr}, "run": run})
    [pool] = plan_pools(recipe, at(Node(17.0, 2), joined=joined))
    assert pool.request == ResourceRequest("ocr", 8, 8, 1.0, 0.25)
    each = 2 * plan_arena_bytes(80 << 30, pool.request.gpus, 2)
    assert 0.9 < 4 * each / (80 << 30) < 1


def test_defaults_fit_the_nodes() -> None:
    """A worker lies on one node, and a pool that nodes offer to run on these alone."""
    small = at(*[Node(1.5, 1)] * 4)
    assert sizes(small, {"boxes": {"cpus": 1}})["boxes"] == (2, 2)
    assert sizes(small, {"boxes": {"gpus": 2}})["boxes"] == (1, 1), "it fits nowhere, which the check then says"
    grouped = at(Node(17.0), Node(8.0, 4, frozenset({"boxes"})))
    assert sizes(grouped, {"boxes": {"gpus": 0.5}}) == {
        "tags": (1, 1),
        "decode": (5, 5),
        "ocr": (24, 24),
        "boxes": (8, 8),
    }


def test_defaults_leave_cores_to_gpu_workers_of_a_cluster() -> None:
    """GPUs that many workers can share do not make cores: what is planned must pass the check."""
    for node, resources, found in (
        (
            Node(16.0, 4),
            {"boxes": {"gpus": 0.25}},
            {"tags": (1, 1), "decode": (7, 7), "ocr": (14, 14), "boxes": (13, 13)},
        ),
        (Node(8.0, 4), {"boxes": {"gpus": 0.25}}, {"tags": (1, 1), "decode": (4, 4), "ocr": (6, 6), "boxes": (6, 6)}),
        (Node(8.0, 4), {"boxes": {"gpus": 1}}, {"tags": (1, 1), "decode": (3, 3), "ocr": (6, 6), "boxes": (4, 4)}),
    ):
        runner = at(node, joined=True)
        assert sizes(runner, resources) == found
        values = {"input": "x", "engines": ENGINES, "run": {"resources": resources}}
        requests = [pool.request for pool in plan_pools(AnnotateRecipe.model_validate(values), runner)]
        assert describe_shortfall(requests, [node]) is None


def test_pools_that_grow() -> None:
    runner = at(Node(17.0, 2))
    assert sizes(runner, {"ocr": {"min": 2, "max": 40}, "tags": {"max": 3}}) == {
        "tags": (1, 3),
        "decode": (2, 2),
        "ocr": (2, 40),
        "boxes": (16, 16),
    }
    assert sizes(runner, {"ocr": {"min": 2}, "boxes": {"min": 20}}, workers=5) == {
        "tags": (1, 1),
        "decode": (2, 2),
        "ocr": (2, 16),
        "boxes": (20, 20),
    }


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        ({"min": 3, "max": 2}, "min 3 is more than max 2"),
        ({"workers": 3, "max": 3}, "workers sets both min and max: pass workers alone, or min and max"),
        ({"gpus": 1.5}, "gpus 1.5: a worker has a fraction of one GPU, or whole ones"),
        ({"batch_size": 8}, "batch_size can alter the output: set it in engines, beside the engine's settings"),
    ],
)
def test_resources_that_make_no_sense(options: dict[str, float], fault: str) -> None:
    values = {"input": "x", "engines": ENGINES, "run": {"resources": {"boxes": options}}}
    with pytest.raises(UsageError) as error:
        load_recipe(AnnotateRecipe, None, values)
    assert str(error.value) == f"recipe: run.resources.boxes: {fault}"


def ask(stage: str, workers: int, cpus: float, gpus: float = 0.0) -> ResourceRequest:
    return ResourceRequest(stage, workers, 100 * workers, cpus, gpus)


def test_what_fits() -> None:
    pair = [Node(4.0, 2), Node(2.0)]
    assert describe_shortfall([ask("ocr", 5, 1)], pair) is None
    assert describe_shortfall([ask("ocr", 3, 1), ask("tags", 2, 0.5), ask("boxes", 2, 0.5, 1)], pair) is None
    assert describe_shortfall([ask("ocr", 6, 0.1, 0.3)], pair) is None
    assert describe_shortfall([ask("ocr", 1, 0.1, 0.5), ask("tags", 2, 0.1, 0.25), ask("boxes", 1, 1, 1)], pair) is None
    offering = [Node(2.0, 1), Node(2.0, 1, frozenset({"ocr"}))]
    assert describe_shortfall([ask("boxes", 1, 1, 1), ask("ocr", 4, 0.25, 0.25)], offering) is None
    assert describe_shortfall([ask("ocr", 40, 1 / 3)], [Node(40 / 3), Node(1.0)]) is None, "sums of fractions"


NOTHING = "but there is capacity for 0"
PAIR = "the cluster has 1 x (4 CPUs, 2 GPUs) and 1 x (2 CPUs, 0 GPUs), 1 CPU of it for reading"


def test_what_does_not_fit_is_named() -> None:
    pair = [Node(4.0, 2), Node(2.0)]
    assert describe_shortfall([ask("ocr", 6, 1)], pair) == (
        f"stage ocr asks for 6 workers of 1 CPUs and 0 GPUs, but there is capacity for 5; {PAIR}"
    )
    assert describe_shortfall([ask("ocr", 1, 5), ask("tags", 2, 0.1), ask("boxes", 3, 0.1, 0.6)], pair) == (
        f"stage ocr asks for 1 workers of 5 CPUs and 0 GPUs, {NOTHING}; "
        f"stage boxes asks for 3 workers of 0.1 CPUs and 0.6 GPUs, but there is capacity for 2; {PAIR}"
    )
    assert describe_shortfall([ask("boxes", 1, 1, 2)], [Node(4.0, 1), Node(4.0, 1)]) == (
        f"stage boxes asks for 1 workers of 1 CPUs and 2 GPUs, {NOTHING}; "
        "the cluster has 2 x (4 CPUs, 1 GPUs), 1 CPU of it for reading"
    )
    assert describe_shortfall(
        [ask("ocr", 3, 1), ask("boxes", 1, 1)], [Node(8.0), Node(2.0, 0, frozenset({"ocr"}))]
    ) == (
        "stage ocr asks for 3 workers of 1 CPUs and 0 GPUs, but there is capacity for 2; "
        "the cluster has 1 x (8 CPUs, 0 GPUs) and 1 x (2 CPUs, 0 GPUs, for ocr), 1 CPU of it for reading"
    )


def test_reading_needs_a_core_on_whatever_nodes() -> None:
    assert describe_shortfall([ask("ocr", 2, 1.5)], [Node(2.0), Node(2.0)]) is None
    assert describe_shortfall([ask("ocr", 2, 1.6)], [Node(2.0), Node(2.0)]) == (
        "stage ocr asks for 2 workers of 1.6 CPUs and 0 GPUs, but there is capacity for 1; "
        "the cluster has 2 x (2 CPUs, 0 GPUs), 1 CPU of it for reading"
    )


def test_reading_takes_half_of_a_small_cluster() -> None:
    assert describe_shortfall([ask("ocr", 1, 0.5)], [Node(1.0)]) is None
    assert describe_shortfall([ask("ocr", 1, 0.6)], [Node(1.0)]) == (
        f"stage ocr asks for 1 workers of 0.6 CPUs and 0 GPUs, {NOTHING}; "
        "the cluster has 1 x (1 CPUs, 0 GPUs), 0.5 CPU of it for reading"
    )


@pytest.mark.parametrize("node", [Node(2.0), Node(1.0), Node(1.0, 1)])
@pytest.mark.parametrize("run", [{}, {"workers": 1}])
def test_default_cores_shrink_to_a_small_cluster(node: Node, run: dict[str, int]) -> None:
    """Where one worker of each stage asks for more cores than there are, and the recipe for none."""
    resources = {"boxes": {"gpus": 1}} if node.gpus else {}
    values = {"input": "x", "engines": ENGINES, "run": {"resources": resources} | run}
    requests = [pool.request for pool in plan_pools(AnnotateRecipe.model_validate(values), at(node, joined=True))]
    assert [(request.stage, request.min_workers) for request in requests] == [
        *(("tags", 1), ("decode", 1), ("ocr", 1), ("boxes", 1))
    ]
    assert describe_shortfall(requests, [node]) is None
    assert sum(request.cpus for request in requests) > 0.8 * (node.cpus - node.cpus / 2)


def test_what_the_recipe_asks_for_does_not_shrink() -> None:
    node = Node(2.0)
    for run, advice in (
        ({"workers": 2}, "lower workers or min in run.resources"),
        ({"resources": {"ocr": {"cpus": 4}}}, "lower cpus in run.resources, or add nodes that have them"),
        ({"resources": {"ocr": {"gpus": 1}}}, "lower gpus in run.resources, or add nodes that have them"),
    ):
        values = {"input": "x", "engines": {"ocr": ENGINES["ocr"]}, "run": run}
        requests = [pool.request for pool in plan_pools(AnnotateRecipe.model_validate(values), at(node, joined=True))]
        assert describe_shortfall(requests, [node]) is not None
        assert suggest_requests(requests, [node]) == advice


def test_workers_are_spread() -> None:
    """As Ray Data has it: a fraction of each GPU leaves none that is whole."""
    four = [Node(16.0, 1)] * 4
    assert describe_shortfall([ask("ocr", 4, 1, 0.25), ask("boxes", 3, 1, 1)], four) == (
        f"stage boxes asks for 3 workers of 1 CPUs and 1 GPUs, {NOTHING}; "
        "the cluster has 4 x (16 CPUs, 1 GPUs), 1 CPU of it for reading"
    )
    groups = [Node(16.0, 1, frozenset({"ocr"})), *[Node(16.0, 1, frozenset({"boxes"}))] * 3]
    assert describe_shortfall([ask("ocr", 4, 1, 0.25), ask("boxes", 3, 1, 1)], groups) is None


@pytest.mark.parametrize("there", [[Node(4.0)] * 2, [Node(2.0)] * 2, [Node(1.5)] * 3, [Node(16.0, 1)] * 4])
def test_defaults_fit_as_they_are_spread(there: list[Node]) -> None:
    for kinds in (["ocr"], ["tags", "ocr"], ["tags", "ocr", "boxes"]):
        for options in ({}, {kinds[-1]: {"gpus": 1}}) if there[0].gpus else ({},):
            engines = {kind: ENGINES[kind] for kind in kinds}
            values = {"input": "x", "engines": engines, "run": {"resources": options}}
            recipe = AnnotateRecipe.model_validate(values)
            requests = [pool.request for pool in plan_pools(recipe, at(*there, joined=True))]
            assert describe_shortfall(requests, there) is None
            taken = sum(request.min_workers * request.cpus for request in requests)
            assert options or taken > sum(node.cpus for node in there) / 3


def caption(prompt: str | None = None, **settings: object) -> dict[str, object]:
    return {"engine": "endpoint", "settings": {"model": "m"} | settings, "prompt": prompt}


def test_captions_are_pools_that_wait() -> None:
    """They need little CPU, and have as many workers as `run.workers` says, or one."""
    pools = plan("ocr", captions={"dense": caption(), "short": caption()})
    assert [(pool.name, pool.request.cpus, pool.request.max_workers) for pool in pools] == [
        ("decode", 0.1, 1),
        ("ocr", 1.0, 2),
        ("captions.dense", 0.1, 2),
        ("captions.short", 0.1, 2),
    ]
    assert [pool.keeps_pixels for pool in pools] == [True, True, True, False]
    assert [(pool.chunks_at_once, pool.chunks_held) for pool in pools] == [(1, 3), (1, 3), (2, 4), (2, 4)]
    assert pools[3].captions == ("captions.dense", "captions.short")
    assert [pool.prompt is not None for pool in pools] == [False, False, True, True]
    given = {"input": "x", "engines": {"captions": {"dense": caption()}}}
    for run, workers in (({}, 1), ({"resources": {"captions": {"workers": 5}}}, 5)):
        [decode, alone] = plan_pools(AnnotateRecipe.model_validate(given | {"run": run}), at())
        assert (decode.name, alone.name, alone.request.max_workers) == ("decode", "captions.dense", workers)
        assert (decode.decodes, alone.decodes, alone.is_only_engine) == (True, False, True)


def test_a_caption_without_pixels_runs_when_it_has_what_it_reads(tmp_path: Path) -> None:
    """Before decoding where that is only the alt text or what runs there too."""
    prompts = {"of_alt": "{alt_text}", "of_tags": "{tags}{of_alt}", "of_ocr": "{ocr}", "last": "{of_ocr}"}
    captions = {}
    for name, text in prompts.items():
        (tmp_path / name).write_text(text)
        captions[name] = caption(str(tmp_path / name), send_image=False)
    assert [pool.name for pool in plan("tags", "ocr", captions=captions)] == [
        *("tags", "captions.of_alt", "captions.of_tags", "decode", "ocr", "captions.of_ocr", "captions.last")
    ]
    reused = ("ocr", "captions.of_ocr")
    assert [pool.name for pool in plan("tags", "ocr", reused=reused, captions=captions)] == [
        *("tags", "captions.of_alt", "captions.of_tags", "captions.last", "decode")
    ]


def test_captions_run_on_nodes_that_offer_them() -> None:
    there = (Node(8.0), Node(4.0, offered_stages=frozenset({"captions"})))
    recipe = AnnotateRecipe.model_validate({"input": "x", "engines": {"captions": {"dense": caption()}}})
    [_, pool] = plan_pools(recipe, at(*there, joined=True))
    assert describe_shortfall([replace(pool.request, min_workers=40, cpus=1.0)], there) is not None
    assert describe_shortfall([replace(pool.request, min_workers=4, cpus=1.0)], there) is None
