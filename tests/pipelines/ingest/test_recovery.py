"""Ingest runs that are killed, stopped or out of disk go on to the same bytes; so do runs of more workers."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from curation.mixture.sources import open_source
from pipelines.cli.app import main
from pipelines.recipes.ingest import IngestRun
from pipelines.verify.run import verify
from schemas.errors import UsageError
from schemas.output_set.layout import read_manifests
from schemas.storage.folder import Folder
from tests.conftest import jpeg, write_shard
from tests.pipelines.cli.test_recovery import fill
from tests.pipelines.support.drivers import hashes
from tests.pipelines.support.published import SETS, take_in
from tests.pipelines.support.sets import in_process, rows, shardloom, small_disk
from tests.support.kills import PYTHON_PATH, KillOrder


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two sets, the images of one in three tars, and what becomes of both without a hitch."""
    folder = tmp_path_factory.mktemp("recovery")
    (folder / "images").mkdir()
    for first in (0, 5, 10):
        write_shard(folder / f"images/{first:05d}.tar", [jpeg(first + each) for each in range(5)], first)
    for source in ("obelics", "mint-pdf"):
        (folder / source).mkdir()
        SETS[source](folder / source)
        with pytest.raises(SystemExit) as done:
            main(command(folder, source, folder / f"{source}.out"))
        assert done.value.code == 0
    return folder


def command(made: Path, source: str, output: Path, workers: int = 1) -> list[str]:
    """Of OBELICS five units, one output each; of MINT-PDF one unit, four outputs."""
    files = next((made / source).iterdir())
    images = ["--images", f"{made}/images/*.tar", "--repeated-images", "exact"] if source == "obelics" else []
    rest = ["--samples-per-shard", "3", "--workers", str(workers), "--output", str(output)]
    return ["ingest", source, "--input", str(files), *images, *rest]


@pytest.mark.parametrize("place", ["images.arrow", "data/00000000", "index/00000002", "manifests/00000001"])
def test_a_kill_before_a_rename(made: Path, tmp_path: Path, place: str) -> None:
    killed_once(made, "obelics", tmp_path, place)


@pytest.mark.parametrize("place", ["data/00000000_002", r"manifests/00000000\."])
def test_a_kill_among_the_outputs_of_one_unit(made: Path, tmp_path: Path, place: str) -> None:
    """The unit is done when its first output is: the others are committed before it."""
    killed_once(made, "mint-pdf", tmp_path, place)


def killed_once(made: Path, source: str, folder: Path, place: str) -> None:
    """Kills the command before the rename of what matches; runs it again; compares with a run without a hitch."""
    output = folder / "out"
    (order := KillOrder(folder / "order")).give(place)
    arguments = command(made, source, output)
    killed = shardloom(*arguments, env=os.environ | order.environment)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    order.read_kill().check_half_written()
    with pytest.raises(UsageError, match=f"source a: {output} is not finished: run its command again to resume it"):
        open_source("a", [str(output)])
    times = {path: path.stat().st_mtime_ns for path in output.glob("data/*.tar")}
    done = {file.path for manifest in read_manifests(Folder(str(output))).values() for file in manifest.outputs}
    assert in_process(*arguments).returncode == 0
    open_source("a", [str(output)])
    assert hashes(output) == hashes(made / f"{source}.out")
    assert verify(str(output))[1] == []
    kept = {f"data/{path.name}" for path, time in times.items() if path.stat().st_mtime_ns == time}
    # the unit of MINT-PDF, of which some outputs are committed, is made again as a whole
    assert kept == ({path for path in done if path.startswith("data/")} if source == "obelics" else set())


@pytest.mark.parametrize("pages", [0, 2, 5, 9, 14, 20])
def test_a_full_disk(made: Path, tmp_path: Path, pages: int, capsys: pytest.CaptureFixture[str]) -> None:
    with small_disk(tmp_path / "disk", 1 << 20) as disk:
        filler, output = fill(disk, pages), disk / "out"
        with pytest.raises(SystemExit) as done:
            main(command(made, "obelics", output))
        error = capsys.readouterr().err
        assert done.value.code == 1
        assert re.fullmatch(rf"error: cannot (make|write) {disk}/out\S*: No space left on device\n", error), error
        assert not list(output.rglob("*.tmp-*"))
        filler.unlink()
        with pytest.raises(SystemExit) as done:
            main(command(made, "obelics", output))
        assert done.value.code == 0, capsys.readouterr().err
        assert hashes(output) == hashes(made / "obelics.out")


def test_what_is_committed_is_not_done_again(made: Path, tmp_path: Path) -> None:
    with pytest.raises(SystemExit):
        main(command(made, "obelics", tmp_path / "out"))
    manifests = sorted((tmp_path / "out/manifests").glob("*.json"))
    assert len(manifests) == 5
    manifests[2].unlink()
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "out/data").glob("*.tar")}
    with pytest.raises(SystemExit) as done:
        main(command(made, "obelics", tmp_path / "out"))
    assert done.value.code == 0
    again = {path.stem for path, time in times.items() if path.stat().st_mtime_ns != time}
    assert again == {"00000002"}
    assert hashes(tmp_path / "out") == hashes(made / "obelics.out")


@pytest.mark.ray
@pytest.mark.xdist_group("ray")
@pytest.mark.parametrize("form", ["webdataset", "parquet"])
def test_two_workers_give_the_same_bytes(made: Path, tmp_path: Path, form: str) -> None:
    """Each reads some of the tars that the images lie in, and finds images in all of them."""
    images, files = f"{made}/images/*.tar", f"{made}/obelics/*.parquet"
    for workers in (1, 2):
        options = {"format": form, "samples_per_shard": 2, "repeated_images": "alike"}
        run = IngestRun(workers=workers)
        take_in("obelics", files, tmp_path / f"out{workers}", images, run=run, **options)
    assert len(read_manifests(Folder(str(tmp_path / "out2")))) == 7
    assert hashes(tmp_path / "out1") == hashes(tmp_path / "out2")


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.xdist_group("ray")
@pytest.mark.parametrize("how", ["kill", "hang"])
def test_rows_that_kill_their_workers_are_left_out(tmp_path: Path, how: str) -> None:
    """Two of one unit, each found by two deaths, after one that tells that there are any. A hang is such a death."""
    (tmp_path / "in").mkdir()
    killer = b"the decoder writes beyond its memory here"
    for shard in range(2):
        files = [jpeg(10 * shard + number) for number in range(6)]
        if shard:
            files[2] += killer
            files[5] += killer
        write_shard(tmp_path / f"in/{shard:05d}.tar", files, 10 * shard)
    environment = os.environ | {
        "PYTHONPATH": PYTHON_PATH,
        "KILL_BYTES": killer.decode(),
        "KILL_LOG": str(tmp_path / "log"),
        "KILL_HOW": how,
    }
    (tmp_path / "recipe.yaml").write_text("run: {row_seconds: 2}\n")
    arguments = [
        "ingest",
        "datacomp",
        "--recipe",
        f"{tmp_path}/recipe.yaml",
        "--input",
        f"{tmp_path}/in/*.tar",
        "--workers",
        "2",
        "--output",
        f"{tmp_path}/out",
    ]
    script = "import sys; from pipelines.cli.app import main; main(sys.argv[1:])"
    done = subprocess.run([sys.executable, "-c", script, *arguments], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert len((tmp_path / "log").read_text().splitlines()) == 1 + 2 + 2
    manifests = read_manifests(Folder(str(tmp_path / "out")))
    assert [(each.rows_out, each.reasons) for each in manifests.values()] == [(6, {}), (4, {"worker_killed": 2})]
    assert [(row["key"], row["detail"]) for row in rows(tmp_path / "out", "quarantine")] == [
        (f"{number:012d}", "2 workers died while processing only this row") for number in (12, 15)
    ]
    assert verify(str(tmp_path / "out"))[1] == []
