"""Annotations of an earlier set go to the same images only: of equal key, bytes and caption."""

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from curation.engines.kinds import EngineKind
from pipelines.annotate.chunks import build_samples_table, cut_chunks
from pipelines.annotate.outcomes import Outcome, with_verdicts
from pipelines.annotate.reuse import Reuse, ReusedShard, find_reuse, find_reused_stages
from pipelines.recipes.annotate import AnnotateRecipe, ChunkOptions, EngineOptions, Engines
from schemas.errors import ShardloomError, UsageError
from schemas.output_set.layout import read_manifests
from schemas.records.fingerprint import EngineFingerprint
from schemas.records.quarantine import Reason, Rejected
from schemas.storage.folder import Folder
from schemas.tar.reader import TarReader
from tests.conftest import jpeg, write_shard
from tests.pipelines.support.sets import annotation_set, lines_of, rows

FINGERPRINT = EngineFingerprint(name="pixel", version="1", weights_sha256="", settings={})
CHANGED = r"^shard 00000000 has changed since .*old was made from it$"


@pytest.fixture
def reuse(make_shards: Callable[..., str], tmp_path: Path) -> Reuse:
    """The texts of four images, in the folder `old`."""
    annotation_set(make_shards(tmp_path / "images", shards=1, samples=4), tmp_path / "old")
    return Reuse(Folder(str(tmp_path / "old")), ["ocr"], {"ocr": FINGERPRINT})


def read_samples(folder: Path) -> pa.Table:
    """The samples of the shard as the reader forwards them."""
    with (folder / "images/00000000.tar").open("rb") as file:
        (chunk,) = cut_chunks(TarReader(file), ChunkOptions())
    return build_samples_table(chunk)


def replace_value(samples: pa.Table, column: str, row: int, value: str) -> pa.Table:
    values = samples[column].to_pylist()
    values[row] = value
    at = samples.column_names.index(column)
    return samples.set_column(at, samples.schema.field(at), pa.array(values, samples.schema.types[at]))


def test_annotations_go_to_the_images_that_they_were_made_of(reuse: Reuse, tmp_path: Path) -> None:
    found = ReusedShard(reuse, "00000000").with_annotations(read_samples(tmp_path))
    assert found["ocr"].to_pylist() == [row["ocr"] for row in rows(tmp_path / "old")]
    assert [len(lines) for lines in found["ocr"].to_pylist()] == [len(lines_of(str(number))) for number in range(4)]
    assert found["failures"].to_pylist() == [[]] * 4
    assert found["reason"].to_pylist() == [None] * 4
    assert found.schema.metadata == {b"engine.ocr": FINGERPRINT.model_dump_json().encode()}


def test_another_image_under_the_same_key_and_caption_is_refused(reuse: Reuse, tmp_path: Path) -> None:
    """By its hash alone: the check of the whole shard comes only when the shard is read to its end."""
    write_shard(tmp_path / "images/00000000.tar", [jpeg(number if number != 2 else 99) for number in range(4)])
    with pytest.raises(UsageError, match=CHANGED):
        ReusedShard(reuse, "00000000").with_annotations(read_samples(tmp_path))


@pytest.mark.parametrize("column", ["key", "sha256", "caption"])
def test_a_sample_that_differs_in_one_field_is_refused(reuse: Reuse, tmp_path: Path, column: str) -> None:
    changed = replace_value(read_samples(tmp_path), column, 3, "another")
    with pytest.raises(UsageError, match=CHANGED):
        ReusedShard(reuse, "00000000").with_annotations(changed)


def test_the_shard_as_a_whole_is_compared_by_its_hash(reuse: Reuse) -> None:
    (manifest,) = read_manifests(reuse.folder).values()
    shard = ReusedShard(reuse, "00000000")
    shard.check_sha256(manifest.inputs[0].sha256)
    with pytest.raises(UsageError, match=CHANGED):
        shard.check_sha256("0" * 64)


@pytest.mark.parametrize("name", ["data", "quarantine"])
def test_files_of_the_earlier_set_are_compared_by_their_hash(reuse: Reuse, tmp_path: Path, name: str) -> None:
    path = tmp_path / f"old/{name}/00000000.parquet"
    data = path.read_bytes()
    path.write_bytes(data[:40] + bytes([data[40] ^ 1]) + data[41:])
    with pytest.raises(ShardloomError, match=rf"old/{name}/00000000\.parquet is not as it was committed"):
        ReusedShard(reuse, "00000000")


def test_an_unreadable_sample_keeps_the_readers_verdict(reuse: Reuse, tmp_path: Path) -> None:
    samples = replace_value(read_samples(tmp_path), "caption", 1, "another")
    unread = Outcome(fault=Rejected(Reason.MISSING_IMAGE, "members: json"), stage="read")
    found = ReusedShard(reuse, "00000000").with_annotations(
        with_verdicts(samples, [Outcome(), unread, Outcome(), Outcome()])
    )
    assert found["reason"].to_pylist() == [None, "missing_image", None, None]
    assert found["ocr"].to_pylist()[1] is None


def test_what_the_earlier_set_left_out(reuse: Reuse, tmp_path: Path) -> None:
    """A verdict holds, unless it is that of an engine, which fails on the image again, beside others."""
    shard = ReusedShard(reuse, "00000000")
    verdicts = {
        "000000000000": {"stage": "decode", "reason": "too_small", "detail": "1 x 1"},
        "000000000001": {"stage": "ocr", "reason": "engine_error", "detail": "ValueError: x"},
    }
    for key, verdict in verdicts.items():
        del shard.good[key]
        shard.bad[key] = {"key": key} | verdict
    found = shard.with_annotations(read_samples(tmp_path)).to_pylist()
    assert [(row["stage"], row["reason"], row["detail"]) for row in found[:2]] == [
        ("decode", "too_small", "1 x 1"),
        (None, None, None),
    ]
    assert [row["failures"] for row in found] == [
        [],
        [{"engine": "ocr", "reason": "engine_error", "detail": "ValueError: x"}],
        [],
        [],
    ]
    assert [row["ocr"] is None for row in found] == [True, True, False, False]


def test_only_failures_of_reused_engines_are_taken(reuse: Reuse, tmp_path: Path) -> None:
    shard = ReusedShard(reuse, "00000000")
    failures = [{"engine": kind, "reason": "engine_error", "detail": "x"} for kind in ("ocr", "tags")]
    shard.good["000000000002"]["failures"] = failures
    found = shard.with_annotations(read_samples(tmp_path))
    assert found["failures"].to_pylist() == [[], [], failures[:1], []]


def options(**batch_sizes: int) -> dict[EngineKind, EngineOptions]:
    """The options of engines that differ in their batch sizes, by which an engine's last digit may differ."""
    names: dict[EngineKind, str] = {"ocr": "rapidocr", "tags": "caption", "boxes": "grounding_dino"}
    return {
        kind: EngineOptions(engine=names[kind], batch_size=batch_sizes[kind]) for kind in names if kind in batch_sizes
    }


@pytest.mark.parametrize(
    ("stored", "requested", "stages"),
    [
        (options(ocr=1), options(ocr=1, tags=1), ["ocr"]),
        (options(ocr=1), options(ocr=2, tags=1), []),
        (options(tags=1, boxes=1), options(ocr=1, tags=1, boxes=1), ["tags", "boxes"]),
        (options(tags=1, boxes=1), options(tags=2, boxes=1), []),
        (options(ocr=1, tags=1, boxes=1), options(ocr=1, tags=2, boxes=1), ["ocr"]),
        (options(tags=1, boxes=1), options(tags=1, boxes=2), ["tags"]),
    ],
)
def test_engines_that_need_not_run_again(
    stored: dict[EngineKind, EngineOptions], requested: dict[EngineKind, EngineOptions], stages: list[str]
) -> None:
    """Boxes that were found with other tags are not those of this recipe."""
    assert find_reused_stages(Engines(**stored), Engines(**requested)) == stages


@pytest.mark.parametrize(
    ("choice", "line"),
    [({"limit": 2}, "limit is None there and 2 here"), ({"sample": 2, "seed": 1}, "sample is None there and 2 here")],
)
def test_annotations_of_other_rows_are_not_reused(reuse: Reuse, choice: dict[str, int], line: str) -> None:
    engines = {"ocr": {"engine": "PixelOcr"}, "tags": {"engine": "PixelTags"}}
    run = {"reuse": reuse.folder.url}
    recipe = AnnotateRecipe.model_validate({"input": ["images/*.tar"], "engines": engines, "run": run} | choice)
    with pytest.raises(UsageError) as error:
        find_reuse(recipe, [])
    assert str(error.value) == f"{reuse.folder.url}: {line}"
