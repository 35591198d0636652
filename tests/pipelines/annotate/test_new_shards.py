"""New shards of the input are added to a finished set, and only they are worked on."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipelines.annotate.run import annotate
from pipelines.recipes.annotate import AnnotateRecipe
from pipelines.verify.run import verify
from tests.conftest import jpeg, write_shard
from tests.pipelines.support.drivers import hashes
from tests.pipelines.support.sets import rows

pytestmark = [pytest.mark.ray, pytest.mark.xdist_group("ray"), pytest.mark.usefixtures("own_engines")]

FIRST, SECOND, THIRD = [1, 2, 3, 4], [5, 2, 6], [7, 5, 1, 8]
"""The seeds of the pictures of each shard: of two, some are repeated."""


@pytest.fixture
def images(tmp_path: Path) -> Iterator[Path]:
    """A folder with the first two shards."""
    folder = tmp_path / "images"
    folder.mkdir()
    for number, seeds in enumerate((FIRST, SECOND)):
        add_shard(folder, number, seeds)
    return folder


def add_shard(folder: Path, number: int, seeds: list[int]) -> None:
    write_shard(folder / f"{number:08d}.tar", [jpeg(seed) for seed in seeds], first=10_000 * number)


def recipe_of(images: Path, log: Path, *, repeated_images: bool = True) -> AnnotateRecipe:
    return AnnotateRecipe.model_validate(
        {
            "input": f"{images}/*.tar",
            "engines": {"ocr": {"engine": "PixelOcr", "settings": {"log": str(log)}}},
            "chunk": {"samples": 2},
            "filters": {"min_side": None, "max_aspect": None, "repeated_images": repeated_images},
            "run": {"workers": 1},
        }
    )


def test_only_new_shards_are_worked_on(images: Path, tmp_path: Path) -> None:
    """An image that is in a shard of the first run is a repeated one."""
    log, output = tmp_path / "calls.log", tmp_path / "out"
    totals = annotate(recipe_of(images, log), str(output))
    assert (totals.outputs, totals.rows_out, totals.reasons) == (2, 6, {"repeated_image": 1})
    before = hashes(output)
    calls = len(log.read_text().splitlines())
    add_shard(images, 2, THIRD)
    totals = annotate(recipe_of(images, log), str(output))
    assert (totals.outputs, totals.rows_in, totals.rows_out) == (3, 11, 8)
    assert totals.reasons == Counter(repeated_image=3)
    assert [row["key"] for row in rows(output, "quarantine")] == ["000000010001", "000000020001", "000000020002"]
    assert len(log.read_text().splitlines()) - calls == 2
    after = hashes(output)
    new = {"README.md", "data/00000002.parquet", "quarantine/00000002.parquet", "manifests/00000002.json"}
    assert {name for name in after if after[name] != before.get(name)} == new
    assert verify(str(output)) == (3, [])
    annotate(recipe_of(images, log), str(tmp_path / "at once"))
    assert hashes(tmp_path / "at once") == after


def test_only_new_shards_are_read(images: Path, tmp_path: Path) -> None:
    """The others are no longer tars, of the same size. Whoever reads them finds damage."""
    log, output = tmp_path / "calls.log", tmp_path / "out"
    recipe = recipe_of(images, log, repeated_images=False)
    annotate(recipe, str(output))
    before, calls = hashes(output), len(log.read_text().splitlines())
    for path in images.iterdir():
        path.write_bytes(b"x" * path.stat().st_size)
    add_shard(images, 2, THIRD)
    totals = annotate(recipe, str(output))
    assert (totals.outputs, totals.rows_out, totals.damaged) == (3, 11, {})
    assert len(log.read_text().splitlines()) - calls == len(THIRD)
    assert {name for name, digest in hashes(output).items() if before.get(name) != digest} == {
        "README.md",
        "data/00000002.parquet",
        "quarantine/00000002.parquet",
        "manifests/00000002.json",
    }
