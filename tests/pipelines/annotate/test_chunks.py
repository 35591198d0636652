"""Chunks: cut by samples, bytes and pixels, the same way whatever the recipe allows to be decoded."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipelines.annotate.chunks import cut, pixels_of, size_of, tar_size_of
from pipelines.recipes.annotate import ChunkOptions
from schemas.tar.header import BLOCK, RECORD
from schemas.tar.reader import TarReader, TarSample
from tests.conftest import jpeg, write_shard


def samples(path: Path, images: list[bytes]) -> list[TarSample]:
    write_shard(path, images)
    with path.open("rb") as file:
        return list(TarReader(file))


def chunks(path: Path, **limits: int) -> list[int]:
    with path.open("rb") as file:
        return [len(chunk) for chunk in cut(TarReader(file), ChunkOptions(**limits))]


def test_a_chunk_ends_before_the_sample_that_goes_over_a_limit(tmp_path: Path) -> None:
    path = tmp_path / "00000000.tar"
    found = samples(path, [jpeg(number, width=64, height=48) for number in range(7)])
    assert [pixels_of(sample) for sample in found] == [64 * 48] * 7
    assert chunks(path) == [7]
    assert chunks(path, samples=3) == [3, 3, 1]
    assert chunks(path, pixels=2 * 64 * 48) == [2, 2, 2, 1]
    assert chunks(path, pixels=1) == [1] * 7
    assert chunks(path, bytes=size_of(found[0]) + size_of(found[1]))[0] == 2


def test_samples_take_all_of_their_tar_but_its_end(tmp_path: Path) -> None:
    path = tmp_path / "00000000.tar"
    found = samples(path, [jpeg(number) for number in range(7)])
    assert found[-1].start == sum(map(tar_size_of, found[:-1]))
    end = 2 * BLOCK
    assert path.stat().st_size == -(-(sum(map(tar_size_of, found)) + end) // RECORD) * RECORD


@pytest.mark.parametrize(("side", "pixels"), [(9_000, 81_000_000), (13_378, 0)])
def test_what_can_be_decoded_counts(tmp_path: Path, side: int, pixels: int) -> None:
    """Over the default limit, which a recipe may raise, and over what none may allow."""
    file = io.BytesIO()
    Image.fromarray(np.zeros((side, side), bool)).save(file, "PNG")
    (sample,) = samples(tmp_path / "00000000.tar", [file.getvalue()])
    assert pixels_of(sample) == pixels


def test_what_is_no_image_counts_as_no_pixels(tmp_path: Path) -> None:
    path = tmp_path / "00000000.tar"
    assert [pixels_of(sample) for sample in samples(path, [b"no image", jpeg(1)])] == [0, 64 * 48]
