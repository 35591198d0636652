"""A run that claims its shards makes the set that any run makes, beside others that hold, leave or take shards."""

import json
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pipelines.annotate.claims.claim import Ticket
from pipelines.annotate.claims.claim_folder import CLAIMS, ClaimFolder
from pipelines.annotate.drivers import other_runs
from pipelines.annotate.drivers.other_runs import OtherRuns
from pipelines.annotate.run import annotate
from pipelines.inputs.shards import list_input_shards
from pipelines.output.claim import claim
from pipelines.output.totals import read_times
from pipelines.recipes.annotate import AnnotateRecipe
from schemas.output_set.layout import MANIFESTS, PARTS
from schemas.output_set.lock import lock_output
from schemas.storage.folder import Folder
from tests.pipelines.support.drivers import hashes, wait_until

pytestmark = [pytest.mark.ray, pytest.mark.xdist_group("ray"), pytest.mark.usefixtures("own_engines")]


@pytest.fixture(scope="module")
def images(make_shards: Callable[..., str], tmp_path_factory: pytest.TempPathFactory) -> str:
    return make_shards(tmp_path_factory.mktemp("images"), shards=3, samples=8)


@pytest.fixture(scope="module")
def alone(images: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("alone") / "out"
    annotate(recipe_of(images, is_shared=False), str(output))
    return output


@pytest.fixture(autouse=True)
def _ask_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(other_runs, "POLL_SECONDS", 0.1)


def recipe_of(images: str, is_shared: bool = True) -> AnnotateRecipe:
    return AnnotateRecipe.model_validate(
        {
            "input": images,
            "engines": {"ocr": {"engine": "PixelOcr"}},
            "chunk": {"samples": 2},
            "filters": {"min_side": None, "max_aspect": None},
            "run": {"workers": 1, "claim": is_shared},
        }
    )


@contextmanager
def running(work: Callable[[], None]) -> Iterator[None]:
    """Runs the work in a thread beside the block. Both must end."""
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    yield
    thread.join(60)
    assert not thread.is_alive()


def list_names(output: Folder, folder: str) -> set[str]:
    return {name[:8] for name in output.list_files(folder) if name[:8].isdecimal()}


def test_what_another_run_leaves_is_worked_on_last(images: str, alone: Path, tmp_path: Path) -> None:
    """It holds a shard, and ends when it sees the others committed."""
    output, recipe = Folder(str(tmp_path / "out")), recipe_of(images)
    is_held = threading.Event()
    seen: list[set[str]] = []

    def hold() -> None:
        with lock_output(output, "annotate --claim", is_shared=True) as lock:
            claim(output, recipe)
            claims = ClaimFolder(output, list_input_shards(recipe.input, ".tar"), lock.holder)
            claims.begin_life("x", "1")
            held = claims.take(Ticket("x", "1", 0))
            assert held is not None
            is_held.set()
            wait_until(lambda: len(list_names(output, MANIFESTS)) == 2)
            seen.append(list_names(output, MANIFESTS) | {held.shard.name})

    with running(hold):
        assert is_held.wait(60)
        totals = annotate(recipe, output.url)
    assert (totals.outputs, seen) == (3, [{"00000000", "00000001", "00000002"}])
    assert hashes(tmp_path / "out") == hashes(alone)
    times = read_times(output)
    assert (times.shards, times.stages["ocr"]["images"], times.rows) == (3, 24, {"annotated": 24})
    assert annotate(recipe, output.url).is_unchanged


def test_others_that_commit_all_that_is_left_before_the_first_round_leave_nothing_to_do(
    images: str, alone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ray takes a while to start."""
    real = OtherRuns.wait_for_shards

    def wait_and_commit(others: OtherRuns) -> bool:
        is_any_free = real(others)
        for folder in ("data", "quarantine", MANIFESTS):
            shutil.copytree(alone / folder, tmp_path / "out" / folder, dirs_exist_ok=True)
        return is_any_free

    monkeypatch.setattr(OtherRuns, "wait_for_shards", wait_and_commit)
    assert annotate(recipe_of(images), str(tmp_path / "out")).outputs == 3
    assert hashes(tmp_path / "out") == hashes(alone)
    assert read_times(Folder(str(tmp_path / "out"))).shards == 0


@pytest.mark.parametrize("steps", ["claim commit", "commit", "claim", "clear"])
def test_a_shard_that_another_run_takes_over_is_left_to_it(
    images: str, alone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, steps: str
) -> None:
    """It does so while this run works on the shard, as with one that was suspended.

    Its claim may come too late. It may end without committing the shard, or clear the parts of a set that is complete
    as far as it knows: then this run makes the shard after all.
    """
    monkeypatch.setenv("CALL_SECONDS", "0.2")  # of workers that start now
    output = Folder(str(tmp_path / "out"))
    taken: list[str] = []

    def take_over() -> None:
        wait_until(lambda: bool(list_names(output, PARTS)))
        shard = min(list_names(output, PARTS))
        taken.append(shard)
        if "claim" in steps:
            found = {"holder": "0", "ticket": {"owner": "x", "life": "1", "number": 0}}
            output.write(f"{CLAIMS}/{shard}.0001.json", json.dumps(found).encode())
        if "commit" in steps:
            for name in (f"data/{shard}.parquet", f"quarantine/{shard}.parquet", f"{MANIFESTS}/{shard}.json"):
                (tmp_path / "out" / name).parent.mkdir(exist_ok=True)
                shutil.copy(alone / name, tmp_path / "out" / name)
        if "claim" not in steps or "commit" in steps:
            for name in output.list_files(PARTS):
                if name.startswith(shard):
                    output.remove(f"{PARTS}/{name}")

    with running(take_over):
        totals = annotate(recipe_of(images), output.url)
    assert (totals.outputs, len(taken), read_times(output).shards) == (3, 1, 2 if "commit" in steps else 3)
    assert hashes(tmp_path / "out") == hashes(alone)
