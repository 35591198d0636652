"""Captions by models in the workers: each image's own, and the same bytes whatever the workers and the kills."""

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from curation.engines.captions.transformers import ENGINE as TRANSFORMERS
from curation.engines.captions.transformers_settings import TransformersSettings
from curation.engines.kinds import CaptionAnswer, CaptionRequest
from curation.engines.registry import ENGINES
from curation.images.decode import DecodeLimits, decode
from pipelines.annotate.run import annotate
from pipelines.recipes.annotate import AnnotateRecipe
from pipelines.verify.run import verify
from tests.conftest import jpeg
from tests.pipelines.support.caption_models import SHARDLOOM, make_captions
from tests.pipelines.support.drivers import Driver, hashes
from tests.pipelines.support.sets import rows
from training.captions.engine import ENGINE as OWN
from training.captions.settings import ShardloomSettings

pytestmark = [pytest.mark.ray, pytest.mark.xdist_group("ray")]

IMAGES, SHARDS, CHUNK = 5, 2, 3  # images of a shard


@pytest.fixture(scope="module")
def captions(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return make_captions(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def images(make_shards: Callable[..., str], tmp_path_factory: pytest.TempPathFactory) -> str:
    return make_shards(tmp_path_factory.mktemp("images"), shards=SHARDS, samples=IMAGES)


def run(output: Path, images: str, captions: dict[str, Any], workers: int) -> None:
    ENGINES.trust(SHARDLOOM)
    values = {"input": images, "engines": {"captions": captions}, "chunk": {"samples": CHUNK}}
    annotate(AnnotateRecipe.model_validate(values | {"run": {"workers": workers}}), str(output))


def ask_alone(captions: dict[str, Any], alt_text: str, image: bytes) -> list[CaptionAnswer]:
    """The captions of one image, each asked of its engine without any other image."""
    pixels = decode(image, DecodeLimits())
    alone = {"images_per_pass": 1}
    dense, own, both = (one["settings"] | alone for one in captions.values())
    [first] = TRANSFORMERS.make(TransformersSettings(**dense)).annotate([CaptionRequest("0", alt_text, pixels)])
    asked = CaptionRequest("0", f"The page says: {alt_text}", pixels)
    [second] = OWN.make(ShardloomSettings(**own)).annotate([asked])
    [third] = TRANSFORMERS.make(TransformersSettings(**both)).annotate(
        [CaptionRequest("0", f"{first.text} / {second.text}", None)]
    )
    return [first, second, third]


@pytest.mark.slow
def test_each_image_has_the_captions_that_it_has_alone(images: str, captions: dict[str, Any], tmp_path: Path) -> None:
    """By both engines, and by a model that rewrites what they have said."""
    run(tmp_path / "out", images, captions, workers=1)
    assert verify(str(tmp_path / "out")) == (SHARDS, [])
    found = rows(tmp_path / "out")
    assert len(found) == SHARDS * IMAGES
    for row, seed in ((found[0], 0), (found[IMAGES - 1], IMAGES - 1), (found[-1], 1000 + IMAGES - 1)):
        said = ask_alone(captions, row["caption"], jpeg(seed))
        named = zip(row["captions"], captions, said, strict=True)
        for caption, name, answer in named:
            assert caption == {
                "name": name,
                "text": answer.text,
                "status": answer.status,
                "finish_reason": answer.finish_reason,
                "prompt_tokens": answer.prompt_tokens,
                "completion_tokens": answer.completion_tokens,
            }
    for place in range(3):
        assert len({row["captions"][place]["text"] for row in found}) > 1


@pytest.mark.slow
@pytest.mark.parametrize("name", ["dense", "own"])
def test_three_kills_give_the_bytes_of_one_worker(
    images: str, captions: dict[str, Any], tmp_path: Path, name: str
) -> None:
    """By transformers, and by an exported model of the demo's configuration; two workers are killed, then resumed."""
    undisturbed = make_driver(tmp_path / "undisturbed", images, {name: captions[name]}, workers=1)
    finish(undisturbed)
    driver = make_driver(tmp_path / "killed", images, {name: captions[name]}, workers=2)
    driver.order.give(r"parts/00000000-000001\.parquet$")
    assert driver.kill_when(driver.order.is_taken)  # a worker has died there, and now the driver dies too
    driver.order.read_kill()
    for target in (r"manifests/00000000\.json$", r"data/00000001\.parquet$"):
        driver.order.give(target)
        assert driver.run().returncode == -signal.SIGKILL
        driver.order.read_kill()
    finish(driver)
    assert hashes(driver.output) == hashes(undisturbed.output)


def make_driver(folder: Path, images: str, captions: dict[str, Any], workers: int) -> Driver:
    driver = Driver(folder, images, engines={"captions": captions}, chunk=CHUNK, workers=workers)
    driver.arguments += ["--trust-code", SHARDLOOM]
    return driver


def finish(driver: Driver) -> None:
    finished = driver.run()
    assert finished.returncode == 0, finished.stderr
    assert verify(str(driver.output)) == (SHARDS, [])
