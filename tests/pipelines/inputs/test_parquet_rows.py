"""Every reader of Parquet says in one line what it does not read; rows come by decompressed bytes."""

import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curation.sources import SOURCES
from pipelines.cli.app import main
from pipelines.inputs.parquet_rows import cut_row_groups, read_rows
from pipelines.inputs.shards import find_missing_downloads
from pipelines.shard.caption_set import CaptionSet
from schemas.errors import UsageError
from schemas.records.quarantine import Rejected
from schemas.storage import parquet
from schemas.storage.folder import Folder
from tests.pipelines.support.sets import annotation_set, caption_set, in_process
from tests.schemas.support.encrypted import write_encrypted

MIB = 1 << 20
CAPTIONS = pa.table({"uid": ["a", "b"], "caption": ["a", "b"]})


def test_rows_that_expand_are_read_a_few_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet, "BATCH_BYTES", 4 * MIB)
    file = io.BytesIO()
    pq.write_table(pa.table({"text": ["x" * MIB] * 48}), file, compression="zstd")
    sizes: list[int] = []

    def measured(*arguments: object) -> object:
        for batch in parquet.iterate_batches(*arguments):  # type: ignore[arg-type]
            sizes.append(batch.nbytes)
            yield batch

    monkeypatch.setattr("pipelines.inputs.parquet_rows.iterate_batches", measured)
    reader = SOURCES.find("text")
    assert [bound[:2] for bound in cut_row_groups(file, reader, 20, "a.parquet")] == [(0, 20), (20, 40), (40, 48)]
    found = list(read_rows(file, reader, "a.parquet", 20, 40, is_local=True))
    assert [len(row["text"]) for row in found[:20]] == [MIB] * 20  # type: ignore[index]
    assert max(sizes) <= 4 * MIB


def test_a_file_that_expands_is_refused_before_any_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet, "EXPANDED_BYTES", 4 * MIB)
    file = io.BytesIO()
    pq.write_table(pa.table({"text": ["x" * MIB] * 48}), file, compression="zstd", use_dictionary=False)
    with pytest.raises(UsageError, match=r"a\.parquet: column text of row group 0 expands from"):
        list(cut_row_groups(file, SOURCES.find("text"), 20, "a.parquet"))


@pytest.mark.parametrize("command", ["ingest text --input", "ingest kale --input", "select", "download"])
@pytest.mark.parametrize("plain_footer", [True, False])
def test_an_encrypted_file_is_named(tmp_path: Path, command: str, plain_footer: bool) -> None:
    """Under a plain footer Arrow ended the process by SIGABRT, without a word of which file it was."""
    path, columns = tmp_path / "a.parquet", ("uid", "url", "text", "caption")
    write_encrypted(path, pa.table({name: ["a", "b"] for name in columns}), ["text", "caption"], plain_footer)
    done = in_process(*command.split(), path, "--output", tmp_path / "out")
    what = "columns text, caption" if plain_footer else "its footer"
    assert (done.returncode, done.stderr) == (2, f"error: {path} is encrypted ({what}): decrypt it first\n")
    assert not (tmp_path / "out").exists()


def test_encrypted_captions_are_named(
    tmp_path: Path, make_shards: Callable[..., str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Those of other sets, to put places into or to join; and what a set of ours may hold."""
    path = tmp_path / "captions/a.parquet"
    path.parent.mkdir()
    write_encrypted(path, CAPTIONS, ["caption"])
    line = f"{path} is encrypted (columns caption): decrypt it first"
    with pytest.raises(UsageError) as error:
        CaptionSet(str(path.parent))
    assert str(error.value) == line
    images = make_shards(tmp_path / "images", shards=1, samples=4)
    annotations = annotation_set(images, tmp_path / "annotations")
    captions = caption_set(annotations, tmp_path / "own")
    assert CaptionSet(str(captions)).files == ["data/00000000.parquet"]
    with pytest.raises(SystemExit) as done:
        main(["render", "grounding", str(annotations), "--caption-from", str(path), "--output", str(tmp_path / "out")])
    assert done.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_a_side_file_that_is_encrypted_is_damage(tmp_path: Path) -> None:
    write_encrypted(tmp_path / "00000.parquet", CAPTIONS, ["caption"])
    assert find_missing_downloads(Folder(str(tmp_path)), "00000", []) == [
        "00000.parquet can't be read: it is encrypted (columns caption): decrypt it first"
    ]


def test_a_list_of_millions_is_no_row(tmp_path: Path) -> None:
    """It repeats, so the file is small, and Arrow takes little; Python would take gigabytes for its objects."""
    turns = pa.StructArray.from_arrays([pa.nulls(2_000_001, pa.string())], ["value"])
    lists = pa.ListArray.from_arrays([0, 2_000_000, 2_000_001], turns)
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"text": ["a", "b"], "turns": lists}), path)
    reader = replace(SOURCES.find("text"), columns=("text", "turns"), optional=())
    with path.open("rb") as file:
        found = list(read_rows(file, reader, str(path), 0, 2, True))
    assert isinstance(found[0], Rejected)
    assert found[0].detail == "a list of 2,000,000 entries; at most 1,000,000 are read"
    assert found[1] == {"text": "b", "turns": [{"value": None}]}
