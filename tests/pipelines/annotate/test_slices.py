"""The last chunks of a run are cut into slices, and the bytes are those of whole chunks."""

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from pipelines.annotate.claims.source import ListedShards
from pipelines.annotate.commits import ShardCommitter
from pipelines.annotate.messages import Chunk, Message, WrittenPart, decode_message
from pipelines.annotate.outcomes import Outcome, with_decoded, with_values
from pipelines.annotate.parts import write_part
from pipelines.annotate.reader import ShardReader
from pipelines.annotate.slices import TailPlan, plan_tail
from pipelines.inputs.shards import InputShard
from pipelines.output.totals import RunTimes
from pipelines.output.writer import commit
from pipelines.recipes.annotate import AnnotateRecipe
from schemas.errors import ShardloomError
from schemas.records.fingerprint import EngineFingerprint
from schemas.records.text_line import OCR_COLUMN, line_to_arrow
from schemas.storage.folder import Folder
from tests.conftest import jpeg, write_shard
from tests.pipelines.support.sets import line

SAMPLES, CHUNK, UNIT = 50, 20, 2
FINGERPRINT = EngineFingerprint(name="pixel", version="1", weights_sha256="", settings={})


@pytest.fixture(scope="module")
def shard(tmp_path_factory: pytest.TempPathFactory) -> InputShard:
    path = tmp_path_factory.mktemp("images") / "a+1.tar"
    write_shard(path, [jpeg(number) for number in range(SAMPLES)])
    return InputShard("a+1", str(path))


@pytest.mark.parametrize(
    ("unit", "rows", "starts"),
    [
        (16, 256, [0, 32, 64, 96, 128, 160, 192, 224]),
        (16, 162, [0, 16, 32, 48, 64, 80, 96, 112, 128, 144, 160]),
        (16, 49, [0, 16, 32, 48]),
        (16, 48, [0]),
        (48, 256, [0, 48, 96, 144, 192, 240]),
        (16, 16, [0]),
        (16, 7, [0]),
        (1, 0, []),
    ],
)
def test_slices_have_whole_batches(unit: int, rows: int, starts: list[int]) -> None:
    assert TailPlan(unit=unit).cut(rows) == starts


def test_as_many_chunks_as_wait_at_workers() -> None:
    large = [InputShard(f"{number}", "", 40 << 20) for number in range(20)]  # of 40 chunks or more
    units = [16, 16, 4, 6]
    assert plan_tail(large, 1 << 20, 1, 1, units) == TailPlan({"19": 0}, 3, 48, is_cut=False)
    assert plan_tail(large, 1 << 20, 2, 1, units) == TailPlan({"19": 0}, 5, 48)
    assert plan_tail(large, 1 << 20, 64, 8, units) == TailPlan({str(n): 0 for n in range(19, 11, -1)}, 17, 48)
    small = [replace(each, listed_size=1000) for each in large]
    last = {str(n): (19 - n) * 1000 for n in range(19, 10, -1)}
    assert plan_tail(small, 1 << 20, 4, 1, units) == TailPlan(last, 9, 48)
    last = {str(n): (19 - n) // 2 * 1000 for n in range(19, 9, -1)}
    assert plan_tail(small, 1 << 20, 4, 2, units) == TailPlan(last, 5, 48)
    assert list(plan_tail(small[:3], 1 << 20, 4, 1, units).last) == ["2", "1", "0"]


def recipe_of(shard: InputShard) -> AnnotateRecipe:
    values = {"input": shard.path, "engines": {"ocr": {"engine": "PixelOcr"}}, "chunk": {"samples": CHUNK}}
    return AnnotateRecipe.model_validate(values)


def read(shard: InputShard, output: Folder, tail: TailPlan) -> Iterator[Message]:
    source = ListedShards([shard], tail.last)
    reader = ShardReader(recipe_of(shard), output, output.list_files("parts"), source, None, tail)
    for row in source.make_rows():
        yield from map(decode_message, reader(row))


def annotate(message: Message, output: Folder, sha256: str, version: str = "1") -> Message:
    """Writes what a chunk or a slice becomes; every seventh picture has no text."""
    if not isinstance(message, Chunk) or message.table is None:
        return message
    keys = message.table["key"].to_pylist()
    outcomes = [Outcome(width=64, height=48, value=[line_to_arrow(line(key))] if int(key) % 7 else []) for key in keys]
    table = with_values(with_decoded(message.table, outcomes, keep_pixels=False), outcomes, "ocr", OCR_COLUMN)
    fingerprint = FINGERPRINT.model_copy(update={"version": version}).model_dump_json()
    table = table.replace_schema_metadata({"engine.ocr": fingerprint})
    write_part(output, replace(message, table=table), sha256)
    return WrittenPart(
        message.shard, message.index, message.size, table.num_rows, start=message.start, of_rows=message.of_rows
    )


def run(shard: InputShard, folder: Path, tail: TailPlan, stop: int | None = None) -> ShardCommitter:
    """Makes the set of one shard, up to the message `stop`. Results arrive in the reverse order."""
    output, recipe = Folder(str(folder)), recipe_of(shard)
    committer = ShardCommitter(recipe, output, lambda manifest: commit(output, manifest), RunTimes())
    for message in [*read(shard, output, tail)][::-1][:stop]:
        committer.handle_result(annotate(message, output, recipe.compute_sha256()))
    return committer


def contents(folder: Path) -> dict[str, str]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture(scope="module")
def whole(shard: InputShard, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What whole chunks become."""
    folder = tmp_path_factory.mktemp("whole")
    committer = run(shard, folder, TailPlan())
    assert (committer.chunks_written, committer.times.rows) == (3, {"annotated": SAMPLES})
    return contents(folder)


@pytest.mark.parametrize(("chunks", "messages"), [(3, [10, 10, 5]), (1, [1, 10, 5])])
def test_slices_become_the_same_bytes(
    shard: InputShard, whole: dict[str, str], tmp_path: Path, chunks: int, messages: list[int]
) -> None:
    tail = TailPlan({shard.name: 0}, chunks, UNIT)
    sliced = [message for message in read(shard, Folder(str(tmp_path)), tail) if isinstance(message, Chunk)]
    assert [sum(each.index == index for each in sliced) for index in range(3)] == messages
    committer = run(shard, tmp_path, tail)
    assert contents(tmp_path) == whole
    assert (committer.chunks_written, committer.times.rows) == (3, {"annotated": SAMPLES})
    assert committer.bytes.uncommitted == 0


def test_chunks_with_more_shards_behind_them_stay_whole(shard: InputShard, tmp_path: Path) -> None:
    for later, indexes in ((0, [0, 1, 2]), (shard.get_size(), [1, 2]), (4 * shard.get_size(), [])):
        tail = TailPlan({shard.name: later}, 4, UNIT)
        sliced = [each for each in read(shard, Folder(str(tmp_path)), tail) if isinstance(each, Chunk) and each.of_rows]
        assert sorted({each.index for each in sliced}) == indexes


def test_the_last_chunks_are_known_to_the_workers_also_whole(shard: InputShard, tmp_path: Path) -> None:
    for is_cut, counts in ((True, [1, 10, 5]), (False, [1, 1, 1])):
        tail = TailPlan({shard.name: 0}, 1, UNIT, is_cut)
        chunks = [each for each in read(shard, Folder(str(tmp_path)), tail) if isinstance(each, Chunk)]
        assert [each.is_at_end for each in chunks] == [each.index > 0 for each in chunks]
        assert [sum(each.index == index for each in chunks) for index in range(3)] == counts


def test_slices_have_the_bytes_of_their_chunk(shard: InputShard, tmp_path: Path) -> None:
    tail = TailPlan({shard.name: 0}, 3, 6)
    chunks = [each for each in read(shard, Folder(str(tmp_path)), TailPlan()) if isinstance(each, Chunk)]
    slices = [each for each in read(shard, Folder(str(tmp_path)), tail) if isinstance(each, Chunk)]
    assert [each.size for each in chunks] == [sum(s.size for s in slices if s.index == each.index) for each in chunks]
    first = [each for each in slices if each.index == 0]
    assert [(each.start, each.label, each.ends_chunk()) for each in first] == [
        (0, "a+1/0", False),
        (6, "a+1/0+6", False),
        (12, "a+1/0+12", False),
        (18, "a+1/0+18", True),
    ]


@pytest.mark.parametrize("stop", [3, 6, 14])
def test_a_run_that_was_killed_goes_on(shard: InputShard, whole: dict[str, str], tmp_path: Path, stop: int) -> None:
    """A chunk of which slices are missing is worked on again as a whole, or in other slices."""
    run(shard, tmp_path, TailPlan({shard.name: 0}, 3, UNIT), stop)
    run(shard, tmp_path, TailPlan({shard.name: 0}, 3, 6))
    for left in (tmp_path / "parts").iterdir():  # as `run_job` does in the end
        assert "+0000" in left.name
        left.unlink()
    (tmp_path / "parts").rmdir()
    assert contents(tmp_path) == whole


def test_slices_of_different_engines_are_refused(shard: InputShard, tmp_path: Path) -> None:
    output, recipe = Folder(str(tmp_path)), recipe_of(shard)
    committer = ShardCommitter(recipe, output, lambda manifest: commit(output, manifest), RunTimes())
    *messages, last = [*read(shard, output, TailPlan({shard.name: 0}, 3, 5))][:4]
    for message in messages:
        committer.handle_result(annotate(message, output, recipe.compute_sha256()))
    with pytest.raises(ShardloomError, match=r"^a\+1 was annotated by different engines"):
        committer.handle_result(annotate(last, output, recipe.compute_sha256(), version="2"))
