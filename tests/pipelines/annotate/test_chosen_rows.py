"""A run over fewer images opens fewer tars, gives each image the row of the whole run, and accounts for the others."""

from collections.abc import Callable
from pathlib import Path

import pytest

from pipelines.verify.run import verify
from schemas.output_set.layout import read_manifests
from schemas.storage.folder import Folder
from tests.pipelines.support.drivers import Driver, hashes
from tests.pipelines.support.engines import trust_flags
from tests.pipelines.support.sets import in_process, rows

pytestmark = [pytest.mark.ray, pytest.mark.xdist_group("ray")]


@pytest.fixture(scope="module")
def images(make_shards: Callable[..., str], tmp_path_factory: pytest.TempPathFactory) -> str:
    """Three tars of twelve images, and one that is no tar: a run that opens it counts it as damaged."""
    glob = make_shards(tmp_path_factory.mktemp("images"), shards=3, samples=12)
    Path(glob).with_name("00000003.tar").write_bytes(b"no tar" * 1000)
    return glob


def annotate(images: str, output: Path, *flags: str) -> None:
    """Annotates into the output with two workers, in chunks of four."""
    command = ["annotate", "ocr:PixelOcr", *trust_flags("PixelOcr"), "--input", images, "--output", output]
    done = in_process(*command, "--workers", "2", "--chunk", "4", *flags)
    assert done.returncode == 0, done.stderr


def test_the_first_images(images: str, tmp_path: Path) -> None:
    annotate(images, tmp_path / "all", "--allow-damaged")
    annotate(images, tmp_path / "out", "--limit", "18")
    assert rows(tmp_path / "out") == rows(tmp_path / "all")[:18]
    found = read_manifests(Folder(str(tmp_path / "out")))
    assert {name: (one.rows_in, one.rows_out, one.left_out) for name, one in found.items()} == {
        "00000000": (12, 12, {"limit": 0}),
        "00000001": (12, 6, {"limit": 6}),
    }
    assert verify(str(tmp_path / "out")) == (2, [])


def test_a_sample_and_its_resumed_run(images: str, tmp_path: Path) -> None:
    flags = ["--sample", "10", "--seed", "2", "--allow-damaged"]
    annotate(images, tmp_path / "out", *flags)
    assert sum(one.rows_out for one in read_manifests(Folder(str(tmp_path / "out"))).values()) == 10
    before = hashes(tmp_path / "out")
    next((tmp_path / "out/manifests").glob("*.json")).unlink()
    annotate(images, tmp_path / "out", *flags)
    assert hashes(tmp_path / "out") == before
    refused = in_process(
        *("annotate", "ocr:PixelOcr", *trust_flags("PixelOcr"), "--input", images, "--output", tmp_path / "out"),
        *("--chunk", "4", "--sample", "10", "--seed", "3"),
    )
    assert refused.returncode == 2
    assert "holds another recipe (seed is 2 there and 3 here): use a new output folder" in refused.stderr


def find_data(output: Path) -> dict[str, str]:
    """The hashes of the files with rows."""
    return {name: found for name, found in hashes(output).items() if name.startswith(("data/", "quarantine/"))}


@pytest.mark.slow
def test_a_sample_by_several_drivers_and_with_claims(images: str, tmp_path: Path) -> None:
    """The same images, chunks and bytes, whoever reads the shards, and in whichever chunks their neighbours are."""
    flags = ["--sample", "17", "--seed", "5", "--allow-damaged"]
    annotate(images, tmp_path / "out", *flags)
    for name, run in ("drivers", {"drivers": 2}), ("claim", {"claim": True}):
        driver = Driver(tmp_path / name, images, run=run)
        done = driver.run(*flags)
        assert done.returncode == 0, done.stderr
        assert find_data(driver.output) == find_data(tmp_path / "out")
    annotate(images, tmp_path / "chunks", *flags, "--chunk", "3")
    assert rows(tmp_path / "chunks") == rows(tmp_path / "out")
