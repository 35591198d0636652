"""Chunks: cut by samples, bytes and pixels, the same way whatever the recipe allows to be decoded."""

import hashlib
import io
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pipelines.annotate.chunks import (
    build_samples_table,
    compute_digest,
    count_bytes,
    count_tar_bytes,
    cut_chunks,
    read_chunk_sample,
)
from pipelines.recipes.annotate import ChunkOptions
from schemas.layouts import datacomp
from schemas.tar.header import BLOCK, RECORD
from schemas.tar.reader import TarReader, TarSample
from schemas.tar.writer import TarWriter
from tests.conftest import jpeg, write_shard


def samples(path: Path, images: list[bytes]) -> list[TarSample]:
    write_shard(path, images)
    with path.open("rb") as file:
        return list(TarReader(file))


def chunks(path: Path, **limits: int) -> list[int]:
    with path.open("rb") as file:
        return [len(chunk) for chunk in cut_chunks(TarReader(file), ChunkOptions(**limits))]


def test_a_chunk_ends_before_the_sample_that_goes_over_a_limit(tmp_path: Path) -> None:
    path = tmp_path / "00000000.tar"
    found = samples(path, [jpeg(number, width=64, height=48) for number in range(7)])
    assert [read_chunk_sample(sample).pixels for sample in found] == [64 * 48] * 7
    assert chunks(path) == [7]
    assert chunks(path, samples=3) == [3, 3, 1]
    assert chunks(path, pixels=2 * 64 * 48) == [2, 2, 2, 1]
    assert chunks(path, pixels=1) == [1] * 7
    assert chunks(path, bytes=count_bytes(found[0]) + count_bytes(found[1]))[0] == 2


def test_samples_take_all_of_their_tar_but_its_end(tmp_path: Path) -> None:
    path = tmp_path / "00000000.tar"
    found = samples(path, [jpeg(number) for number in range(7)])
    assert found[-1].start == sum(map(count_tar_bytes, found[:-1]))
    end = 2 * BLOCK
    assert path.stat().st_size == -(-(sum(map(count_tar_bytes, found)) + end) // RECORD) * RECORD


@pytest.mark.parametrize(("side", "pixels"), [(9_000, 81_000_000), (13_378, 0)])
def test_what_can_be_decoded_counts(tmp_path: Path, side: int, pixels: int) -> None:
    """Over the default limit, which a recipe may raise, and over what none may allow."""
    file = io.BytesIO()
    Image.fromarray(np.zeros((side, side), bool)).save(file, "PNG")
    (sample,) = samples(tmp_path / "00000000.tar", [file.getvalue()])
    assert read_chunk_sample(sample).pixels == pixels


def test_what_is_no_image_counts_as_no_pixels(tmp_path: Path) -> None:
    path = tmp_path / "00000000.tar"
    assert [read_chunk_sample(sample).pixels for sample in samples(path, [b"no image", jpeg(1)])] == [0, 64 * 48]


def test_the_json_of_a_sample_is_parsed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "00000000.tar"
    texts = [b'{"uid": "1"}', b'{"uid": "2"}', b"{"]
    write_tar(path, {"a.jpg": jpeg(0), "a.json": texts[0], "b.json": texts[1], "c.jpg": jpeg(1), "c.json": texts[2]})
    parsed: list[bytes] = []

    def loads(data: bytes) -> Any:
        parsed.append(data)
        return json.loads(data)

    monkeypatch.setattr(datacomp, "json", SimpleNamespace(loads=loads))
    with path.open("rb") as file:
        found = list(cut_chunks(TarReader(file), ChunkOptions(samples=2)))
    rows = [row for chunk in found for row in build_samples_table(chunk).to_pylist()]
    assert parsed == texts
    assert [(row["key"], row["uid"], row["reason"]) for row in rows] == [
        ("a", "1", None),
        ("b", "2", "missing_image"),
        ("c", None, "missing_metadata"),
    ]
    assert [row["sha256"] for row in rows] == [hashlib.sha256(jpeg(0)).hexdigest(), "", ""]


def test_a_digest_depends_on_keys_sizes_and_bytes_alone(tmp_path: Path) -> None:
    path = tmp_path / "00000000.tar"
    write_tar(path, {"a.jpg": b"image", "a.json": b"{}"})
    with path.open("rb") as file:
        (chunk,) = cut_chunks(TarReader(file), ChunkOptions())
    state = json.dumps(["a", {"jpg": 5, "json": 2}, "None"]).encode()
    assert compute_digest(chunk) == hashlib.sha256(state + b"image" + b"{}").hexdigest()


def write_tar(path: Path, members: dict[str, bytes]) -> None:
    with path.open("wb") as file:
        writer = TarWriter(file)
        for name, data in members.items():
            writer.add(name, data)
        writer.close()
