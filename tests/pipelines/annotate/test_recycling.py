"""Workers that are replaced after so many images: the same bytes, and no image is worked on twice."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from pipelines.output.totals import read_times
from pipelines.verify.run import verify
from schemas.storage.folder import Folder
from tests.conftest import jpeg, write_shard
from tests.pipelines.support.drivers import Driver, hashes

pytestmark = [pytest.mark.ray, pytest.mark.xdist_group("ray"), pytest.mark.slow]

SAMPLES, CHUNK = 24, 4
RECYCLE = 7  # is reached with the second chunk of each process
KILLER, KILLER_WIDTH = 5, 80

POOLS = {
    "ocr": {"engine": "PixelOcr", "batch_size": 2},
    "tags": {"engine": "caption"},
    "boxes": {"engine": "PixelBoxes", "batch_size": 2},
}


def run(driver: Driver, recycle_images: int | None = None) -> dict[str, dict[str, float]]:
    """Runs to the end; the counts of each stage. Of what ends on purpose Ray must not say that it failed."""
    recipe = yaml.safe_load(driver.recipe.read_text())
    recipe["run"]["recycle_images"] = recycle_images
    driver.recipe.write_text(yaml.safe_dump(recipe))
    finished = driver.run("--json")
    assert finished.returncode == 0, finished.stderr
    assert recycle_images is None or "will be retried" not in finished.stderr
    assert verify(str(driver.output)) == (1, [])
    return read_times(Folder(str(driver.output))).stages


def images_by_process(driver: Driver) -> Counter[str]:
    return Counter(driver.log.read_text().splitlines())


@pytest.mark.parametrize("workers", [1, 2])
def test_one_pool(make_shards: Callable[..., str], tmp_path: Path, workers: int) -> None:
    images = make_shards(tmp_path / "images", shards=1, samples=SAMPLES)
    plain, recycling = (Driver(tmp_path / name, images, workers=workers) for name in ("plain", "recycling"))
    assert run(plain)["ocr"]["recycled"] == 0
    stage = run(recycling, RECYCLE)["ocr"]
    assert hashes(recycling.output) == hashes(plain.output)
    by_process = images_by_process(recycling)
    assert (by_process.total(), max(by_process.values())) == (SAMPLES, 2 * CHUNK)
    assert (stage["images"], stage["chunks"], stage["deaths"]) == (SAMPLES, SAMPLES / CHUNK, 0)
    if workers == 1:
        assert by_process.most_common() == [(process, 2 * CHUNK) for process in by_process]
        assert (stage["recycled"], len(by_process)) == (2, 3)


def test_all_pools(make_shards: Callable[..., str], tmp_path: Path) -> None:
    """Matching captions and decoding as well, neither of which may lose what the others have found."""
    images = make_shards(tmp_path / "images", shards=1, samples=SAMPLES)
    plain, recycling = (
        Driver(tmp_path / name, images, workers=1, engines=POOLS, chunk=8) for name in ("plain", "recycling")
    )
    run(plain)
    stages = run(recycling, 8)
    assert hashes(recycling.output) == hashes(plain.output)
    for counts in (stages[name] for name in ("tags", "decode", "ocr", "boxes")):
        assert (counts["recycled"], counts["images"], counts["deaths"]) == (2, SAMPLES, 0)
    assert sorted(images_by_process(recycling).values()) == [8, 8, 8]


def test_beside_a_sample_that_kills(tmp_path: Path) -> None:
    """Deaths are counted as they are without, though processes end on purpose too."""
    images = [jpeg(number, KILLER_WIDTH if number == KILLER else 64) for number in range(SAMPLES)]
    write_shard(tmp_path / "0.tar", images)
    plain, recycling = (
        Driver(tmp_path / name, f"{tmp_path}/*.tar", "KillerOcr", workers=1, width=KILLER_WIDTH)
        for name in ("plain", "recycling")
    )
    deaths = run(plain)["ocr"]["deaths"]
    stage = run(recycling, RECYCLE)["ocr"]
    assert hashes(recycling.output) == hashes(plain.output)
    assert (deaths, stage["deaths"]) == (6, 6)  # the first, of which nobody knew the chunk, and five to find the sample
    assert stage["recycled"] in (1, 2)  # by whether Ray sends a dead worker's chunk before the next one or after it
    assert recycling.calls() == plain.calls()
