"""What is damaged in a set is taken out of it, and the command that made the set makes that again, and nothing else."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from curation.mixture.sources import open_source
from pipelines.cli.app import main
from pipelines.verify.repair import repair
from pipelines.verify.run import verify
from schemas.errors import UsageError
from schemas.output_set.manifest import seal, unseal
from tests.pipelines.support.drivers import hashes
from tests.pipelines.support.published import SETS

EACH = 3  # samples a shard: of four in the tar of a MINT-1T PDF unit


def command(made: Path, source: str, output: Path) -> list[str]:
    """Of MINT-1T PDF one unit of four outputs, of `text` four units of one."""
    files = next((made / source).iterdir())
    rest = ["--samples-per-shard", str(EACH), "--workers", "1", "--output", str(output)]
    return ["ingest", source, "--input", str(files), *rest]


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as done:
        main(list(arguments))
    assert isinstance(done.value.code, int)
    return done.value.code


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    for source in ("mint-pdf", "text"):
        (folder / source).mkdir()
        SETS[source](folder / source)
        assert run(*command(folder, source, folder / f"{source}.out")) == 0
    return folder


@pytest.fixture
def copy(made: Path, tmp_path: Path) -> Callable[[str], Path]:
    return lambda source: Path(shutil.copytree(made / f"{source}.out", tmp_path / source))


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-10])


def replace_by_a_link(path: Path) -> None:
    path.unlink()
    path.symlink_to("/dev/zero")


@pytest.mark.parametrize("damage", [cut, Path.unlink, replace_by_a_link, lambda path: path.write_bytes(b"")])
@pytest.mark.parametrize("name", ["manifests/{}.json", "index/{}.parquet", "data/{}.tar", "quarantine/{}.parquet"])
def test_what_is_damaged_is_made_again(
    made: Path, copy: Callable[[str], Path], name: str, damage: Callable[[Path], None]
) -> None:
    output = copy("text")
    before = {path: path.stat().st_mtime_ns for path in (output / "data").iterdir()}
    damage(output / name.format("00000002"))
    assert verify(str(output))[1]
    is_lost = damage is Path.unlink and name.startswith("manifests")  # then there is no output that is damaged
    assert run("verify", str(output), "--repair") == int(is_lost)
    if not is_lost:
        with pytest.raises(UsageError, match="is not finished"):
            open_source("a", [str(output)])
    assert run(*command(made, "text", output)) == 0
    assert hashes(output) == hashes(made / "text.out")
    assert verify(str(output)) == (4, [])
    again = {path.stem for path in (output / "data").iterdir() if path.stat().st_mtime_ns != before[path]}
    assert again == {"00000002"}


@pytest.mark.parametrize("number", range(4))
def test_a_lost_manifest_of_a_unit_of_several_outputs(made: Path, copy: Callable[[str], Path], number: int) -> None:
    """The same command notices, whichever it is; so do `verify` and whatever reads the set."""
    output = copy("mint-pdf")
    name = f"00000000_{number:03d}" if number else "00000000"
    (output / f"manifests/{name}.json").unlink()
    line = f"{output}/manifests/{name}.json: is missing, but {'00000000' if number else '00000000_001'} refers to it"
    assert line in verify(str(output))[1]
    with pytest.raises(UsageError, match=f"source a: {output} lacks the output {name}: run its command again"):
        open_source("a", [str(output)])
    assert run(*command(made, "mint-pdf", output)) == 0
    assert hashes(output) == hashes(made / "mint-pdf.out")
    assert verify(str(output)) == (4, [])


def of_before(output: Path) -> None:
    """Takes away what manifests tell since this version."""
    for path in (output / "manifests").iterdir():
        values = unseal(path.read_bytes())
        values.pop("unit_outputs", None)
        path.write_bytes(seal(values))


def test_older_manifests_tell_by_their_rows(made: Path, tmp_path: Path) -> None:
    """A unit of 12 rows that bytes have cut into several outputs: none says of how many, but their rows do."""
    files = next((made / "text").iterdir())
    rest = ["--bytes-per-shard", "5000", "--workers", "1", "--output", str(tmp_path / "out")]
    arguments = ["ingest", "text", "--input", str(files), *rest]
    assert run(*arguments) == 0
    of_before(tmp_path / "out")
    whole = hashes(tmp_path / "out")
    names = sorted(path.name for path in (tmp_path / "out/manifests").iterdir())
    assert len(names) > 2
    (tmp_path / "out/manifests" / names[-1]).unlink()
    assert run(*arguments) == 0
    of_before(tmp_path / "out")
    assert hashes(tmp_path / "out") == whole


def test_damage_in_one_of_several_outputs_takes_all_of_them(made: Path, copy: Callable[[str], Path]) -> None:
    output = copy("mint-pdf")
    cut(output / "data/00000000_001.tar")
    done = repair(str(output))
    assert (done.outputs, done.faults) == (4, [])
    assert done.removed == ["00000000", "00000000_001", "00000000_002", "00000000_003"]
    assert [path.name for path in output.rglob("*.tar")] == []
    assert run(*command(made, "mint-pdf", output)) == 0
    assert hashes(output) == hashes(made / "mint-pdf.out")


def test_a_rerun_says_what_to_do(made: Path, copy: Callable[[str], Path], capsys: pytest.CaptureFixture[str]) -> None:
    output = copy("text")
    cut(output / "manifests/00000001.json")
    assert run(*command(made, "text", output)) == 2
    remedy = f"`shardloom verify --repair {output}` removes the damaged outputs"
    error = capsys.readouterr().err
    assert remedy in error
    assert error.startswith(f"error: {output}/manifests/00000001.json: ")


def keep_a_line(path: Path) -> None:
    path.write_bytes(path.read_bytes().splitlines(keepends=True)[0])


@pytest.mark.parametrize("damage", [cut, keep_a_line, Path.unlink, lambda path: path.write_bytes(b"\xff[")])
def test_a_lost_recipe_is_written_again(
    made: Path, copy: Callable[[str], Path], damage: Callable[[Path], None]
) -> None:
    """By the same command: the manifests say that it is theirs. Another command is refused, as ever."""
    output = copy("text")
    damage(output / "recipe.yaml")
    other = [*command(made, "text", output), "--name", "another"]
    assert run(*other) == 2
    assert run(*command(made, "text", output)) == 0
    assert hashes(output) == hashes(made / "text.out")


def test_a_sound_set_stays_as_it_is(copy: Callable[[str], Path], capsys: pytest.CaptureFixture[str]) -> None:
    output = copy("text")
    times = {path: path.stat().st_mtime_ns for path in output.rglob("*")}
    assert run("verify", str(output), "--repair") == 0
    assert capsys.readouterr().out == f"{output}: outputs as they were committed: 4 of 4\n"
    assert {path: path.stat().st_mtime_ns for path in output.rglob("*")} == times


def test_what_is_not_ours_stays(copy: Callable[[str], Path], capsys: pytest.CaptureFixture[str]) -> None:
    output = copy("text")
    (output / "data/notes.txt").write_text("mine")
    cut(output / "index/00000001.parquet")
    (output / "stats.json").write_bytes(b"{}")
    assert run("verify", str(output), "--repair", "--json") == 1
    told = json.loads(capsys.readouterr().out)
    assert told == {
        "outputs": 4,
        "removed": ["00000001"],
        "faults": [f"{output}/data/notes.txt: no manifest lists it"],
    }
    assert (output / "data/notes.txt").read_text() == "mine"
    assert not (output / "stats.json").exists()


def test_nothing_is_removed_behind_a_link(copy: Callable[[str], Path], tmp_path: Path) -> None:
    """A set from elsewhere may have a folder that leads into the user's own."""
    output, mine = copy("text"), tmp_path / "mine"
    shutil.move(output / "data", mine)
    (output / "data").symlink_to(mine)
    files = sorted(mine.iterdir())
    faults = verify(str(output))[1]
    assert [fault for fault in faults if "not links or devices" in fault]
    repair(str(output))
    assert sorted(mine.iterdir()) == files
