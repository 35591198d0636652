"""The skeleton of every command's run, with a job that copies numbers into files."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from pipelines.output import job as jobs
from pipelines.output.job import Context, Job, run_job
from pipelines.output.totals import DamagedInput, add_up_manifests, read_times
from pipelines.output.writer import write_output
from pipelines.recipes.base import RunOptions
from pipelines.recipes.render import RenderRecipe
from schemas.errors import ShardloomError, UsageError
from schemas.output_set.layout import CARD, REPORT, UNFINISHED, read_manifests
from schemas.output_set.manifest import InputFile, Manifest
from schemas.storage.folder import Folder

ALONE = RunOptions(workers=1)


@dataclass(frozen=True)
class Number:
    """A unit: `value` rows out of so many and one more."""

    name: str
    value: int


class CopyJob(Job[Number]):
    """Writes each number's rows; remembers what it was asked to do."""

    title = "copy"

    def __init__(self, values: dict[str, int], fails_at: str = "", damage: Sequence[str] = (), **run: object) -> None:
        self.recipe = RenderRecipe(input="x", run=RunOptions.model_validate({"workers": 1} | run))
        self.values, self.fails_at, self.damage = values, fails_at, damage
        self.worked: list[str] = []

    def plan(self, context: Context) -> list[Number]:
        if not self.values:
            raise UsageError("no numbers")
        return [Number(name, value) for name, value in self.values.items()]

    def describe_change(self, unit: Number | None, manifest: Manifest) -> str:
        return "" if unit is not None and unit.value == manifest.inputs[0].size else "the number has"

    def make_task(self, context: Context) -> Callable[[Number], Manifest]:
        def copy(unit: Number) -> Manifest:
            assert context.output.exists(UNFINISHED)
            self.worked.append(unit.name)
            if unit.name == self.fails_at:
                raise ShardloomError("no luck")
            return Manifest.build(
                unit.name,
                self.recipe.compute_sha256(),
                inputs=[InputFile(path=unit.name, size=unit.value, sha256="")],
                rows_in=unit.value + 1,
                data=write_output(context.output, f"data/{unit.name}.txt", b"x", unit.value),
                others=[],
                reasons=["too_small"],
                damage=self.damage,
            )

        return copy


def test_what_is_committed_is_not_made_again(tmp_path: Path) -> None:
    failing = CopyJob({"a": 1, "b": 2, "c": 3}, fails_at="b")
    with pytest.raises(ShardloomError, match=r"^no luck$"):
        run_job(failing, str(tmp_path / "out"))
    output = Folder(str(tmp_path / "out"))
    assert (list(read_manifests(output)), output.exists(UNFINISHED)) == (["a"], True)
    again = CopyJob({"a": 1, "b": 2, "c": 3})
    totals = run_job(again, output.url)
    assert (again.worked, output.exists(UNFINISHED)) == (["b", "c"], False)
    assert (totals.rows_in, totals.rows_out, dict(totals.reasons)) == (9, 6, {"too_small": 3})
    assert not totals.is_unchanged
    assert read_times(output).runs == 1, "a run that failed has no times"


class LosingJob(CopyJob):
    """Commits a manifest that accounts for one row less than went in."""

    def make_task(self, context: Context) -> Callable[[Number], Manifest]:
        copy = super().make_task(context)

        def lose(unit: Number) -> Manifest:
            manifest = copy(unit)
            return manifest.model_copy(update={"rows_in": manifest.rows_in + 1})  # which checks nothing

        return lose


def test_a_set_that_does_not_account_for_its_rows_is_no_success(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"manifests/a\.json: a: 3 rows in, but 1 out and 1 quarantined: `shardloom "):
        run_job(LosingJob({"a": 1}), str(tmp_path / "out"))


def test_the_runs_of_tests_are_checked_once_more() -> None:
    """By `_account_for_all_rows`, from plain fields: whatever the manifests' own check has become."""
    sound = Manifest.build("a", "", inputs=[], rows_in=1, data=None, others=[], reasons=["too_small"])
    assert jobs.add_up_manifests([sound]) == add_up_manifests([sound])
    for lost in ({"rows_in": 2}, {"rows_in": 0}, {"rows_out": 1}, {"reasons": {}}, {"rows_in": 2, "rows_out": 1}):
        with pytest.raises(AssertionError):
            jobs.add_up_manifests([sound, sound.model_copy(update=lost)])
    with pytest.raises(AssertionError):
        jobs.add_up_manifests([sound.model_copy(update={"retried": {"too_small": 2}})])


def test_a_finished_set_is_left_as_it_is(tmp_path: Path) -> None:
    output = str(tmp_path / "out")
    run_job(CopyJob({"a": 1}), output)
    files = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    job = CopyJob({"a": 1})
    again = run_job(job, output)
    assert (again.rows_out, again.is_unchanged) == (1, True)
    assert job.worked == []
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()} == {
        path: time for path, time in files.items() if path.is_file()
    }


@pytest.mark.parametrize("values", [{"a": 2, "b": 1}, {"b": 1}])
def test_an_input_that_has_changed_is_refused(tmp_path: Path, values: dict[str, int]) -> None:
    output = str(tmp_path / "out")
    run_job(CopyJob({"a": 1}), output)
    job = CopyJob(values)
    with pytest.raises(UsageError) as error:
        run_job(job, output)
    line = f"the number has changed since {output}/data/a was committed: use a new output folder"
    assert (str(error.value), job.worked) == (line, [])


def test_a_wrong_input_leaves_no_folder(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"^no numbers$"):
        run_job(CopyJob({}), str(tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_damage_is_told_when_all_is_committed(tmp_path: Path) -> None:
    job = CopyJob({"a": 1, "b": 2}, damage=["byte 7: cut"])
    with pytest.raises(DamagedInput, match=r"^2 shards are damaged \(a: byte 7: cut; b: byte 7: cut\)"):
        run_job(job, str(tmp_path / "out"))
    allowed = CopyJob({"a": 1, "b": 2}, allow_damaged=True)
    assert run_job(allowed, str(tmp_path / "out")).damaged == {"a": ["byte 7: cut"], "b": ["byte 7: cut"]}


class SharedJob(CopyJob):
    """Works on some of its numbers, after something else has happened; others work on the rest."""

    def __init__(self, values: dict[str, int], own: str, before: Callable[[], object] = lambda: None) -> None:
        super().__init__(values)
        self.own, self.before = own, before

    @property
    def is_shared(self) -> bool:
        return True

    def is_completed_by_others(self, context: Context, manifests: Mapping[str, Manifest]) -> bool:
        return set(manifests) != set(self.values)

    def prepare(self, context: Context, todo: list[Number]) -> list[Number]:
        self.before()
        return [unit for unit in todo if unit.name in self.own]


def test_runs_that_share_a_set_complete_it_once_all_is_committed(tmp_path: Path) -> None:
    """The times of both are kept. What the first to end leaves is not its own to remove."""
    output, values = Folder(str(tmp_path / "out")), {"a": 1, "b": 2}

    def work_beside() -> None:
        (half := tmp_path / "out/data/a.txt.tmp-12345678").parent.mkdir()
        half.touch()
        totals = run_job(SharedJob(values, "b"), output.url)
        assert (totals.outputs, totals.is_unchanged) == (1, False)
        assert (output.exists(UNFINISHED), output.exists(CARD), half.exists()) == (True, False, True)
        assert not output.exists(REPORT)

    totals = run_job(SharedJob(values, "a", work_beside), output.url)
    assert (totals.outputs, read_times(output).runs) == (2, 2)
    assert (output.exists(UNFINISHED), output.exists(CARD), output.exists(REPORT)) == (False, True, True)
    assert {path.name for path in (tmp_path / "out").rglob("*") if "tmp" in path.name} == set()


def test_a_run_that_does_not_share_is_refused_beside_one_that_does(tmp_path: Path) -> None:
    output, values = str(tmp_path / "out"), {"a": 1}

    def work_alone() -> None:
        with pytest.raises(UsageError, match=r"^render --claim \(process \d+ on \S+\) is writing to "):
            run_job(CopyJob(values), output)

    run_job(SharedJob(values, "a", work_alone), output)
    beside = SharedJob({**values, "b": 1}, "b")

    class AloneJob(CopyJob):
        def prepare(self, context: Context, todo: list[Number]) -> list[Number]:
            with pytest.raises(UsageError, match=r"^render \(process \d+ on \S+\) is writing to "):
                run_job(beside, output)
            return todo

    run_job(AloneJob({**values, "b": 1}), output)
    assert beside.worked == []


def test_a_shared_set_has_one_recipe(tmp_path: Path) -> None:
    """That of the first; what `run` holds may differ."""
    output = str(tmp_path / "out")
    other = SharedJob({"a": 1}, "a")
    other.recipe = RenderRecipe(input="y")

    def work_by_another_recipe() -> None:
        with pytest.raises(UsageError, match=r" holds another recipe \(input is 'x' there and 'y' here\): use a new "):
            run_job(other, output)

    run_job(SharedJob({"a": 1}, "a", work_by_another_recipe), output)
    assert other.worked == []
