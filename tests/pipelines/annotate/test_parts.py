"""Parts of a run that was killed count for the same samples and the same recipe only."""

import io
import json
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from pipelines.annotate.messages import Chunk, Message, ShardEnd
from pipelines.annotate.parts import (
    get_part_name,
    is_valid_part,
    join_parts,
    read_fingerprints,
    remove_parts,
)
from schemas.errors import ShardloomError, StorageError
from schemas.tar.reader import TarReader
from tests.pipelines.support.sets import rows
from tests.pipelines.support.shard_runs import FINGERPRINT, Members, ShardRun, members, write_tar

PART = get_part_name("00000000", 0)


@pytest.fixture
def killed(tmp_path: Path) -> ShardRun:
    """A run that was killed when two parts of three were written."""
    write_tar(tmp_path / "00000000.tar", members())
    run = ShardRun(tmp_path)
    for chunk in run.read()[:2]:
        assert isinstance(chunk, Chunk)
        run.write(chunk)
    assert run.output.list_files("parts") == [PART, get_part_name("00000000", 1)]
    return run


def kinds(messages: list[Message]) -> list[str]:
    return [type(message).__name__ for message in messages]


def test_parts_of_an_unchanged_shard_are_used(killed: ShardRun) -> None:
    assert kinds(killed.read()) == ["WrittenPart", "WrittenPart", "Chunk", "ShardEnd"]


def change_image(samples: Members) -> None:
    """Changes one byte of the image's compressed data, and not its length."""
    data = samples["1"]["jpg"]
    samples["1"]["jpg"] = data[:-20] + bytes([data[-20] ^ 1]) + data[-19:]


def change_caption(samples: Members) -> None:
    samples["0"]["json"] = b'{"caption": "pictures"}'


def change_text(samples: Members) -> None:
    samples["1"]["txt"] = b"Picture"


def rename(samples: Members) -> None:
    renamed = {"x" if key == "0" else key: files for key, files in samples.items()}
    samples.clear()
    samples.update(renamed)


def swap(samples: Members) -> None:
    samples["0"], samples["1"] = samples["1"], samples["0"]


@pytest.mark.parametrize("change", [change_image, change_caption, change_text, rename, swap])
def test_a_part_of_samples_that_have_changed_since_is_not_used(
    killed: ShardRun, tmp_path: Path, change: Callable[[Members], None]
) -> None:
    """Only the changed chunk is worked on again, and the result is that of a run that was never killed."""
    samples = members()
    change(samples)
    write_tar(tmp_path / "00000000.tar", samples)
    assert kinds(killed.read()) == ["Chunk", "WrittenPart", "Chunk", "ShardEnd"]
    killed.finish()
    fresh = ShardRun(tmp_path, "fresh")
    fresh.finish()
    assert killed.manifest == fresh.manifest
    assert rows(tmp_path / "out") == rows(tmp_path / "fresh")
    with (tmp_path / "00000000.tar").open("rb") as file:
        keys = [sample.key for sample in TarReader(file)]
    assert [row["key"] for row in rows(tmp_path / "out")] == keys[:4]


def test_no_part_is_used_once_its_samples_are_in_other_chunks(killed: ShardRun, tmp_path: Path) -> None:
    samples = members()
    del samples["0"]
    write_tar(tmp_path / "00000000.tar", samples)
    assert kinds(killed.read()) == ["Chunk", "Chunk", "ShardEnd"]
    assert killed.finish().samples == 4
    assert [row["key"] for row in rows(tmp_path / "out")] == ["1", "2", "3"]


@pytest.mark.usefixtures("killed")
def test_parts_of_another_recipe_are_not_used(tmp_path: Path) -> None:
    other = ShardRun(tmp_path, filters={"min_side": 99})
    assert kinds(other.read()) == ["Chunk", "Chunk", "Chunk", "ShardEnd"]


def test_a_part_that_cannot_be_read_is_not_used(killed: ShardRun, tmp_path: Path) -> None:
    path = tmp_path / "out/parts" / PART
    path.write_bytes(path.read_bytes()[:-1])
    assert kinds(killed.read()) == ["Chunk", "WrittenPart", "Chunk", "ShardEnd"]
    assert read_fingerprints(killed.output, PART) == {}
    assert read_fingerprints(killed.output, get_part_name("00000000", 1)) == {"ocr": FINGERPRINT}


def test_a_part_is_valid_for_its_digest_and_its_recipe_alone(killed: ShardRun) -> None:
    end = killed.read()[-1]
    assert isinstance(end, ShardEnd)
    first, second, _ = end.digests
    assert is_valid_part(killed.output, PART, first, killed.sha256)
    assert not is_valid_part(killed.output, PART, second, killed.sha256)
    assert not is_valid_part(killed.output, PART, first, "0" * 64)
    assert not is_valid_part(killed.output, PART, "", "")
    part = pq.read_table(io.BytesIO(killed.output.read(f"parts/{PART}")))
    pq.write_table(part.replace_schema_metadata(None), killed.output.get_local_path(f"parts/{PART}"))
    assert not is_valid_part(killed.output, PART, first, killed.sha256)


def test_a_part_that_has_gone_is_not_valid(killed: ShardRun) -> None:
    """A run that shares the set has committed the shard. A part that is there and can't be read is an error."""
    end = killed.read()[-1]
    assert isinstance(end, ShardEnd)
    killed.output.remove(f"parts/{PART}")
    assert not is_valid_part(killed.output, PART, end.digests[0], killed.sha256)
    killed.output.get_local_path(f"parts/{PART}").mkdir()
    with pytest.raises(StorageError, match=f"cannot read .*{PART}: Is a directory"):
        is_valid_part(killed.output, PART, end.digests[0], killed.sha256)


def test_parts_are_joined_in_the_order_of_the_input_and_removed(killed: ShardRun, tmp_path: Path) -> None:
    end = killed.finish()
    assert [row["key"] for row in rows(tmp_path / "out")] == ["0", "1", "2", "3"]
    (left_out,) = rows(tmp_path / "out", "quarantine")
    assert [left_out[name] for name in ("key", "stage", "reason", "detail")] == ["4", "decode", "too_small", "64 x 48"]
    manifest = killed.manifest
    assert (manifest.rows_in, manifest.rows_out, manifest.reasons) == (5, 4, {"too_small": 1})
    assert manifest.counts == {"empty_captions": 0, "text_lines": 4, "failures": 0}
    assert manifest.fingerprints == {"ocr": FINGERPRINT}
    assert [(out.path, out.rows) for out in manifest.outputs] == [
        ("data/00000000.parquet", 4),
        ("quarantine/00000000.parquet", 1),
    ]
    remove_parts(killed.output, end)
    assert killed.output.list_files("parts") == []


def test_parts_of_different_engines_are_not_joined(killed: ShardRun) -> None:
    _, _, last, end = killed.read()
    assert isinstance(last, Chunk)
    assert isinstance(end, ShardEnd)
    killed.write(last, FINGERPRINT.model_copy(update={"version": "2"}))
    with pytest.raises(ShardloomError, match=r"^00000000 was annotated by different engines \(") as error:
        join_parts(killed.output, end, killed.sha256)
    made_by = [json.dumps([{**FINGERPRINT.model_dump(), "version": version}]) for version in ("1", "2")]
    assert " and ".join(made_by) in str(error.value)
