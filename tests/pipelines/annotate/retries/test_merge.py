"""Rows that are annotated again take their places among the others, byte for byte as if they had not failed."""

import io
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from pipelines.annotate.claims.source import ListedShards
from pipelines.annotate.messages import Chunk, ShardEnd, decode_message
from pipelines.annotate.outcomes import Outcome, with_decoded, with_values, with_verdicts
from pipelines.annotate.parts import join_parts, write_part
from pipelines.annotate.reader import ShardReader
from pipelines.annotate.retries.merge import arrange, merge_parts
from pipelines.annotate.retries.rows import RetriedRows
from pipelines.inputs.row_choice import RowChoice
from pipelines.output.replacement import finish_replacements, replace_unit
from pipelines.output.writer import commit
from schemas.errors import ShardloomError
from schemas.output_set.layout import read_manifest
from schemas.output_set.manifest import Manifest
from schemas.records.quarantine import Reason, Rejected
from schemas.records.text_line import OCR_COLUMN, line_to_arrow
from schemas.storage.folder import Folder
from schemas.tar.writer import TarWriter
from tests.conftest import jpeg
from tests.pipelines.support.deaths import Deaths, die_at_each_step
from tests.pipelines.support.retried import copy_set, read_attempts, read_set
from tests.pipelines.support.sets import line
from tests.pipelines.support.shard_runs import FINGERPRINT, ShardRun
from tests.support.s3.bucket import Bucket

KEYS = ["0", "1", "2", "3", "1", "4", "5", "6", "7"]
"""Of a tar in which key 1 comes twice; sample 5 is no picture for the reader, as it has none."""


class FaultyRun(ShardRun):
    """A run in chunks of two whose engine fails on some samples."""

    def __init__(self, folder: Path, name: str, faults: dict[str, Reason]) -> None:
        super().__init__(folder, name.rpartition("/")[2])
        if "/" in name:
            self.output = Folder(name)
        self.faults = faults
        self.written: list[str] = []  # keys that the engine was given

    def write_chunk(self, chunk: Chunk) -> None:
        assert chunk.table is not None
        keys = chunk.table["key"].to_pylist()
        self.written += keys
        verdicts = chunk.table["reason"].to_pylist()
        outcomes = [Outcome(width=64, height=48, value=[line_to_arrow(line(f"text of {key}"))]) for key in keys]
        for key, verdict, outcome in zip(keys, verdicts, outcomes, strict=True):
            if key in self.faults and verdict is None:
                outcome.value = None
                outcome.fault, outcome.stage = Rejected(self.faults[key], "a fault"), "ocr"
        table = with_values(with_decoded(chunk.table, outcomes, keep_pixels=False), outcomes, "ocr", OCR_COLUMN)
        table = with_verdicts(table, outcomes).replace_schema_metadata({"engine.ocr": FINGERPRINT.model_dump_json()})
        write_part(self.output, replace(chunk, table=table), self.sha256)

    def make(self) -> None:
        """Makes the set."""
        *chunks, end = self.read()
        for chunk in chunks:
            assert isinstance(chunk, Chunk)
            self.write_chunk(chunk)
        assert isinstance(end, ShardEnd)
        commit(self.output, join_parts(self.output, end, self.sha256))
        self.output.clear("parts")

    @property
    def manifest(self) -> Manifest:
        """That of the output."""
        return read_manifest(self.output, f"{self.shard.name}.json")

    def retry(self, reason: str | None = None) -> None:
        """Works on the quarantined rows and replaces the outputs."""
        retried = RetriedRows(reason)
        source = ListedShards([self.shard])
        reader = ShardReader(self.recipe, self.output, (), source, retried=retried)
        found = [decode_message(row) for block in source.make_rows() for row in reader(block)]
        for message in found[:-1]:
            assert isinstance(message, Chunk), message
            self.write_chunk(message)
        end = found[-1]
        assert isinstance(end, ShardEnd), end
        replace_unit(self.output, "annotate", end.shard, [merge_parts(self.output, end, retried)])
        self.output.clear("parts")


@pytest.fixture
def tar(tmp_path: Path) -> Path:
    path = tmp_path / "00000000.tar"
    with path.open("wb") as file:
        writer = TarWriter(file)
        for number, key in enumerate(KEYS):
            if key != "5":
                writer.add(f"{key}.jpg", jpeg(number))
            writer.add(f"{key}.json", b'{"caption": "picture"}')
            writer.add(f"{key}.txt", b"picture")
        writer.close()
    return path


@pytest.mark.parametrize("failed", [["0"], ["1"], ["2", "3"], ["7"], ["0", "1", "2", "3", "4", "6", "7"]])
def test_the_bytes_of_a_run_without_faults(tar: Path, failed: list[str]) -> None:
    whole = FaultyRun(tar.parent, "whole", {})
    whole.make()
    assert pq.read_table(io.BytesIO(whole.output.read("data/00000000.parquet")))["key"].to_pylist() == list("0123467")
    run = FaultyRun(tar.parent, "out", dict.fromkeys(failed, Reason.ENGINE_ERROR))
    run.make()
    assert read_set(run.output.url) != read_set(whole.output.url)
    run.faults, run.written = {}, []
    run.retry()
    assert sorted(run.written) == sorted(failed)
    assert read_set(run.output.url) == read_set(whole.output.url)
    assert read_attempts(run.output.url) == {"00000000": 2}


def test_rows_that_a_limit_leaves_out_stay_so(tar: Path) -> None:
    """Of a tar with damage behind its last sample, which a retry tells again."""
    with tar.open("ab") as file:
        file.write(b"x" * 1024)
    made = {}
    for name, failed in ("whole", []), ("out", ["2", "4"]):
        run = made[name] = FaultyRun(tar.parent, name, dict.fromkeys(failed, Reason.ENGINE_ERROR))
        run.shard = replace(run.shard, choice=RowChoice("limit", 6, 9))
        run.make()
    assert run.manifest.left_out == {"limit": 3}
    assert len(run.manifest.damage) == 2
    run.faults, run.written = {}, []
    run.retry()
    assert sorted(run.written) == ["2", "4"]
    assert read_set(run.output.url) == read_set(made["whole"].output.url)


def test_parts_of_an_earlier_retry_are_none_of_this_one(tar: Path) -> None:
    """A kill may leave them behind, and the rows in them are the same if they have failed again."""
    run = FaultyRun(tar.parent, "out", {"2": Reason.ENGINE_ERROR})
    run.make()
    first = RetriedRows(None).open(run.output, "00000000")
    run.retry()
    second = RetriedRows(None).open(run.output, "00000000")
    assert first.keys == second.keys == {"2"}
    assert first.mark != second.mark
    assert RetriedRows(None).open(run.output, "00000000").mark == second.mark


def test_one_reason_is_retried_and_may_fail_again(tar: Path) -> None:
    expected = FaultyRun(tar.parent, "expected", {"2": Reason.WORKER_KILLED, "6": Reason.TOO_SLOW})
    expected.make()
    run = FaultyRun(tar.parent, "out", {"2": Reason.WORKER_KILLED, "0": Reason.ENGINE_ERROR, "6": Reason.ENGINE_ERROR})
    run.make()
    run.faults, run.written = {"6": Reason.TOO_SLOW}, []
    run.retry("engine_error")
    assert sorted(run.written) == ["0", "6"]
    assert read_set(run.output.url) == read_set(expected.output.url)


def test_an_input_that_has_changed_is_refused(tar: Path) -> None:
    run = FaultyRun(tar.parent, "out", {"2": Reason.ENGINE_ERROR})
    run.make()
    before = read_set(run.output.url)
    tar.write_bytes(tar.read_bytes().replace(b"picture", b"Picture", 1))
    source = ListedShards([run.shard])
    reader = ShardReader(run.recipe, run.output, (), source, retried=RetriedRows(None))
    *_, last = (decode_message(row) for block in source.make_rows() for row in reader(block))
    with pytest.raises(ShardloomError, match="has changed since it was annotated: annotate it into a new output"):
        raise last.to_error()
    assert read_set(run.output.url) == before


def test_arrange() -> None:
    chunks = [["a", "b"], ["b", "c", "a"], [], ["d"]]
    assert arrange(chunks, ["c", "a", "d"], ["b", "a", "b"]) == [([1], [0]), ([0], [2, 1]), ([], []), ([2], [])]


def check_each_death(tar: Path, monkeypatch: pytest.MonkeyPatch, place: str) -> int:
    """Lets a retry die at each of its steps, and another one follow it. Returns the number of steps."""
    whole = FaultyRun(tar.parent, f"{place}/whole", {})
    whole.make()
    failed = FaultyRun(tar.parent, f"{place}/failed", {"1": Reason.ENGINE_ERROR, "6": Reason.ENGINE_ERROR})
    failed.make()
    run, expected = FaultyRun(tar.parent, f"{place}/out", {}), read_set(whole.output.url)

    def check_and_prepare() -> None:
        if run.output.exists("recipe.yaml"):
            check()
        copy_set(failed.output.url, run.output.url)
        run.output.write("recipe.yaml", b"")

    def check() -> None:
        assert {name: data for name, data in read_set(run.output.url).items() if name != "recipe.yaml"} == expected
        assert read_attempts(run.output.url) == {"00000000": 2}

    def work() -> None:
        finish_replacements(run.output, "annotate")
        if read_attempts(run.output.url) == {"00000000": 1}:
            run.retry()
        run.output.clear("parts")

    steps = die_at_each_step(Deaths(monkeypatch), check_and_prepare, work)
    check()
    return steps


def test_a_death_at_each_step(tar: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert check_each_death(tar, monkeypatch, str(tar.parent)) > 10


@pytest.mark.slow
def test_a_death_at_each_step_in_a_store(tar: Path, monkeypatch: pytest.MonkeyPatch, bucket: Bucket) -> None:
    assert check_each_death(tar, monkeypatch, bucket.url) > 10
