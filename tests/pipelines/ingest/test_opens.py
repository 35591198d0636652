"""Tests of how often an ingest opens and hashes what it reads."""

import contextlib
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, Literal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.ingest.run import ingest
from pipelines.inputs import source_files
from pipelines.recipes.ingest import IngestRecipe, IngestRun
from schemas.storage.folder import Folder

Repeats = Literal["keep", "exact", "alike"]


@pytest.fixture
def opens(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each file was opened or read whole, by its name; and how often rows were hashed."""
    counts: Counter[str] = Counter()
    open_, read, digest = Folder.open, Folder.read, source_files._hash_bytes

    @contextlib.contextmanager
    def counting_open(folder: Folder, name: str) -> Iterator[BinaryIO]:
        counts[name] += 1
        with open_(folder, name) as file:
            yield file

    def counting_read(folder: Folder, name: str) -> bytes:
        counts[name] += 1
        return read(folder, name)

    def counting_digest(file: BinaryIO, stretch: source_files.RowRange) -> str:
        counts["hashed"] += 1
        return digest(file, stretch)

    monkeypatch.setattr(Folder, "open", counting_open)
    monkeypatch.setattr(Folder, "read", counting_read)
    monkeypatch.setattr(source_files, "_hash_bytes", counting_digest)
    return counts


def take_in(source: str, inputs: str, output: Path, repeats: Repeats) -> None:
    run = IngestRun(workers=1)
    recipe = IngestRecipe(source=source, input=[inputs], samples_per_shard=2, repeated_images=repeats, run=run)
    ingest(recipe, str(output))


@pytest.mark.parametrize(("repeats", "passes"), [("keep", 1), ("exact", 2)])
def test_a_tar_is_opened_once_a_pass_and_its_side_file_once(
    tmp_path: Path, make_shards: Callable[..., str], opens: Counter[str], repeats: Repeats, passes: int
) -> None:
    shards = make_shards(tmp_path / "in", shards=2, samples=3)
    for name in ("00000000", "00000001"):
        side = pa.table({"key": ["000000000000"], "status": ["failed_to_download"]})
        pq.write_table(side, tmp_path / "in" / f"{name}.parquet")
    take_in("datacomp", shards, tmp_path / "out", repeats)
    assert opens["00000000.tar"] == passes + 1  # the first rows tell whether it is the set that it is called
    assert opens["00000001.tar"] == passes
    assert (opens["00000000.parquet"], opens["00000001.parquet"]) == (1, 1)


@pytest.mark.parametrize(("repeats", "passes"), [("keep", 1), ("exact", 2)])
def test_rows_are_planned_once_read_once_a_pass_and_hashed_once(
    tmp_path: Path, opens: Counter[str], repeats: Repeats, passes: int
) -> None:
    for name in ("a", "b"):
        (tmp_path / f"{name}.jsonl").write_text("".join(f'{{"text": "{name} {row}"}}\n' for row in range(4)))
    take_in("text", f"{tmp_path}/*.jsonl", tmp_path / "out", repeats)
    units = 2
    assert opens["a.jsonl"] == 1 + units * passes + 1
    assert opens["b.jsonl"] == 1 + units * passes
    assert opens["hashed"] == 2 * units
