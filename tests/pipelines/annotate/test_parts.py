"""Parts of a run that was killed count for the same samples and the same recipe only."""

import io
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from pipelines.annotate.messages import Chunk, Message, ShardEnd, decode_message
from pipelines.annotate.outcomes import Outcome, with_decoded, with_values, with_verdicts
from pipelines.annotate.parts import (
    get_part_name,
    is_valid_part,
    join_parts,
    read_fingerprints,
    remove_parts,
    write_part,
)
from pipelines.annotate.reader import ShardReader, encode_shard
from pipelines.inputs.shards import InputShard
from pipelines.recipes.annotate import AnnotateRecipe
from schemas.errors import ShardloomError
from schemas.records.fingerprint import EngineFingerprint
from schemas.records.quarantine import Reason, Rejected
from schemas.records.text_line import OCR_COLUMN, line_to_arrow
from schemas.storage.folder import Folder
from schemas.tar.reader import TarReader
from schemas.tar.writer import TarWriter
from tests.conftest import jpeg
from tests.pipelines.support.sets import line, rows

FINGERPRINT = EngineFingerprint(name="pixel", version="1", weights_sha256="", settings={})
PART = get_part_name("00000000", 0)
Members = dict[str, dict[str, bytes]]
"""The members of each sample by ending, by key."""


def members() -> Members:
    """Five samples: three chunks of at most two."""
    return {
        f"{number}": {"jpg": jpeg(number), "json": b'{"caption": "picture"}', "txt": b"picture"} for number in range(5)
    }


def write_tar(path: Path, samples: Members) -> None:
    with path.open("wb") as file:
        writer = TarWriter(file)
        for key, files in samples.items():
            for ending, data in files.items():
                writer.add(f"{key}.{ending}", data)
        writer.close()


class Run:
    """The reader's and the last pool's part of a run over one shard, without the graph between them."""

    def __init__(self, folder: Path, name: str = "out", **recipe: object) -> None:
        path = str(folder / "00000000.tar")
        values = {"input": path, "engines": {"ocr": {"engine": "rapidocr"}}, "chunk": {"samples": 2}} | recipe
        self.recipe = AnnotateRecipe.model_validate(values)
        self.output, self.shard = Folder(str(folder / name)), InputShard("00000000", path)
        self.sha256 = self.recipe.compute_sha256()

    def read(self) -> list[Message]:
        """What the reader yields, knowing the parts that are there."""
        reader = ShardReader(self.recipe, self.output, self.output.list_files("parts"))
        return [decode_message(row) for row in reader(encode_shard(self.shard))]

    def write(self, chunk: Chunk, fingerprint: EngineFingerprint = FINGERPRINT) -> None:
        """Writes the part of a chunk whose texts are the images' hashes; an image of sample 4 is too small."""
        assert chunk.table is not None
        keys, hashes = (chunk.table[name].to_pylist() for name in ("key", "sha256"))
        outcomes = [Outcome(width=64, height=48, value=[line_to_arrow(line(sha256))]) for sha256 in hashes]
        for key, outcome in zip(keys, outcomes, strict=True):
            if key == "4":
                outcome.fault, outcome.stage = Rejected(Reason.TOO_SMALL, "64 x 48"), "decode"
        table = with_values(with_decoded(chunk.table, outcomes, keep_pixels=False), outcomes, "ocr", OCR_COLUMN)
        table = with_verdicts(table, outcomes).replace_schema_metadata({"engine.ocr": fingerprint.model_dump_json()})
        write_part(self.output, replace(chunk, table=table), self.sha256)

    def finish(self) -> ShardEnd:
        """Writes the parts that are not valid yet and joins all."""
        *others, end = self.read()
        for message in others:
            if isinstance(message, Chunk):
                self.write(message)
        assert isinstance(end, ShardEnd)
        self.manifest = join_parts(self.output, end, self.sha256)
        return end


@pytest.fixture
def killed(tmp_path: Path) -> Run:
    """A run that was killed when two parts of three were written."""
    write_tar(tmp_path / "00000000.tar", members())
    run = Run(tmp_path)
    for chunk in run.read()[:2]:
        assert isinstance(chunk, Chunk)
        run.write(chunk)
    assert run.output.list_files("parts") == [PART, get_part_name("00000000", 1)]
    return run


def kinds(messages: list[Message]) -> list[str]:
    return [type(message).__name__ for message in messages]


def test_parts_of_an_unchanged_shard_are_used(killed: Run) -> None:
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
    killed: Run, tmp_path: Path, change: Callable[[Members], None]
) -> None:
    """Only the changed chunk is worked on again, and the result is that of a run that was never killed."""
    samples = members()
    change(samples)
    write_tar(tmp_path / "00000000.tar", samples)
    assert kinds(killed.read()) == ["Chunk", "WrittenPart", "Chunk", "ShardEnd"]
    killed.finish()
    fresh = Run(tmp_path, "fresh")
    fresh.finish()
    assert killed.manifest == fresh.manifest
    assert rows(tmp_path / "out") == rows(tmp_path / "fresh")
    with (tmp_path / "00000000.tar").open("rb") as file:
        keys = [sample.key for sample in TarReader(file)]
    assert [row["key"] for row in rows(tmp_path / "out")] == keys[:4]


def test_no_part_is_used_once_its_samples_are_in_other_chunks(killed: Run, tmp_path: Path) -> None:
    samples = members()
    del samples["0"]
    write_tar(tmp_path / "00000000.tar", samples)
    assert kinds(killed.read()) == ["Chunk", "Chunk", "ShardEnd"]
    assert killed.finish().samples == 4
    assert [row["key"] for row in rows(tmp_path / "out")] == ["1", "2", "3"]


@pytest.mark.usefixtures("killed")
def test_parts_of_another_recipe_are_not_used(tmp_path: Path) -> None:
    other = Run(tmp_path, filters={"min_side": 99})
    assert kinds(other.read()) == ["Chunk", "Chunk", "Chunk", "ShardEnd"]


def test_a_part_that_cannot_be_read_is_not_used(killed: Run, tmp_path: Path) -> None:
    path = tmp_path / "out/parts" / PART
    path.write_bytes(path.read_bytes()[:-1])
    assert kinds(killed.read()) == ["Chunk", "WrittenPart", "Chunk", "ShardEnd"]
    assert read_fingerprints(killed.output, PART) == {}
    assert read_fingerprints(killed.output, get_part_name("00000000", 1)) == {"ocr": FINGERPRINT}


def test_a_part_is_valid_for_its_digest_and_its_recipe_alone(killed: Run) -> None:
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


def test_parts_are_joined_in_the_order_of_the_input_and_removed(killed: Run, tmp_path: Path) -> None:
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


def test_parts_of_different_engines_are_not_joined(killed: Run) -> None:
    _, _, last, end = killed.read()
    assert isinstance(last, Chunk)
    assert isinstance(end, ShardEnd)
    killed.write(last, FINGERPRINT.model_copy(update={"version": "2"}))
    with pytest.raises(ShardloomError, match=r"^00000000 was annotated by different engines \(") as error:
        join_parts(killed.output, end, killed.sha256)
    made_by = [json.dumps([{**FINGERPRINT.model_dump(), "version": version}]) for version in ("1", "2")]
    assert " and ".join(made_by) in str(error.value)
