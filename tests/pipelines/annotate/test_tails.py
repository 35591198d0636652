"""Workers share the last chunks of a run: none idles for longer than a quarter of a chunk while another works."""

from collections.abc import Callable
from pathlib import Path

import pytest

from pipelines.annotate.run import annotate
from pipelines.recipes.annotate import AnnotateRecipe
from tests.pipelines.support.drivers import hashes

pytestmark = [pytest.mark.ray, pytest.mark.xdist_group("ray"), pytest.mark.usefixtures("own_engines")]

CHUNK, BATCH = 16, 2


def run(images: str, output: Path, workers: int, seconds: float = 0.0) -> list[str]:
    """Annotates the images; the worker of each, in the order of the work."""
    log = output.with_suffix(".log")
    settings = {"log": str(log), "seconds": seconds}
    recipe = AnnotateRecipe.model_validate(
        {
            "input": images,
            "engines": {"ocr": {"engine": "PixelOcr", "settings": settings, "batch_size": BATCH}},
            "chunk": {"samples": CHUNK},
            "run": {"workers": workers},
        }
    )
    annotate(recipe, str(output))
    return log.read_text().splitlines()


def data_of(output: Path) -> dict[str, str]:
    return {name: sha256 for name, sha256 in hashes(output).items() if name.startswith(("data/", "quarantine/"))}


def test_workers_share_the_last_chunk(make_shards: Callable[..., str], tmp_path: Path) -> None:
    images = make_shards(tmp_path / "images", shards=1, samples=3 * CHUNK)
    calls = run(images, tmp_path / "two", workers=2, seconds=0.2)
    assert (len(calls), len(set(calls))) == (3 * CHUNK, 2)
    alone = next(place for place, worker in enumerate(reversed(calls)) if worker != calls[-1])
    assert alone <= CHUNK // 4 + BATCH, calls  # and the batch that is under way
    run(images, tmp_path / "one", workers=1)
    assert data_of(tmp_path / "one") == data_of(tmp_path / "two")
