"""Whatever is changed in an output set is found and named; nothing is found in one that is as it was written."""

import hashlib
import random
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.cli.app import main
from pipelines.stats.run import collect_stats
from pipelines.verify.run import verify
from schemas.errors import UsageError
from schemas.output_set.layout import read_manifests
from schemas.output_set.manifest import seal, unseal
from schemas.storage.folder import Folder
from tests.pipelines.support.sets import annotation_set, caption_set, join

KINDS = ("annotations", "captions", "webdataset", "parquet")
OTHERS = ("README.md", "report.html")


@pytest.fixture(scope="module")
def sets(make_shards: Callable[..., str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One output set of each kind."""
    folder = tmp_path_factory.mktemp("sets")
    images = make_shards(folder / "images", shards=2, samples=8)
    captions = caption_set(annotation_set(images, folder / "annotations"), folder / "captions")
    for form in ("webdataset", "parquet"):
        join(images, captions, folder / form, format=form, samples_per_shard=7)
    return folder


@pytest.fixture
def copy(sets: Path, tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    return Path(shutil.copytree(sets / request.param, tmp_path / "out" / request.param))


def covered(output: Path) -> list[Path]:
    """Every file of a set but its card, which anyone may edit, and its report, which nothing reads."""
    assert (output / "README.md").exists() == (output.name != "annotations"), "that one is made by no command here"
    return sorted(path for path in output.rglob("*") if path.is_file() and path.name not in OTHERS)


def faults_of(output: Path, capsys: pytest.CaptureFixture[str]) -> list[str]:
    """What the command prints, having exited with 1: a line a fault, and one that counts them."""
    with pytest.raises(SystemExit) as done:
        main(["verify", str(output)])
    assert done.value.code == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    *faults, last = printed.err.splitlines()
    assert re.match(rf"error: {re.escape(str(output))}: faults in \d+ checked outputs: {len(faults)}\b", last)
    return faults


@pytest.mark.parametrize("copy", KINDS, indirect=True)
def test_a_clean_set_has_no_fault(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as done:
        main(["verify", str(copy)])
    assert (done.value.code, capsys.readouterr().err) == (0, "")
    assert verify(str(copy)) == (2, [])


@pytest.mark.parametrize("copy", KINDS, indirect=True)
def test_any_changed_byte_is_found_and_its_file_named(copy: Path) -> None:
    """First, last and random bytes of every file in turn, each with one bit or all bits changed."""
    generator = random.Random(5)
    files = covered(copy)
    assert {path.parent.name for path in files} >= {copy.name, "data", "quarantine", "manifests"}
    for path in files:
        sound = path.read_bytes()
        for place in {0, len(sound) - 1, *(generator.randrange(len(sound)) for _ in range(5))}:
            changed = bytearray(sound)
            changed[place] ^= generator.choice((1, 32, 128, 255))
            path.write_bytes(changed)
            faults = verify(str(copy))[1]
            assert len(faults) == 1, (path, place, faults)
            assert faults[0].startswith(f"{path}: "), (path, place, faults)
            assert faults[0].isprintable()
        path.write_bytes(sound)
    assert verify(str(copy))[1] == []


@pytest.mark.parametrize("copy", ["webdataset"], indirect=True)
def test_every_byte_of_a_manifest_counts(copy: Path) -> None:
    path = copy / "manifests/00000000.json"
    sound = path.read_bytes()
    for place in range(0, len(sound), 11):
        path.write_bytes(sound[:place] + bytes([sound[place] ^ 1]) + sound[place + 1 :])
        assert [fault.split(": ")[0] for fault in verify(str(copy))[1]] == [str(path)], place
    path.write_bytes(sound + b"\n")
    assert verify(str(copy))[1] == [f"{path}: the seal is broken"]


@pytest.mark.parametrize("copy", KINDS, indirect=True)
def test_cut_and_grown_files_are_found(copy: Path) -> None:
    for path in covered(copy):
        sound = path.read_bytes()
        for changed in (b"", sound[:-1], sound + b"\0"):
            path.write_bytes(changed)
            assert [fault.split(": ")[0] for fault in verify(str(copy))[1]] == [str(path)]
        path.write_bytes(sound)


@pytest.mark.parametrize("copy", KINDS, indirect=True)
def test_missing_files_are_named(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for path in covered(copy):
        sound = path.read_bytes()
        path.unlink()
        if path.name == "stats.json":  # timings: a run that was killed at its very end has none
            assert verify(str(copy))[1] == []
        elif path.parent.name == "manifests":
            orphans = sorted(str(found) for found in copy.rglob(f"{path.stem}.*"))
            assert faults_of(copy, capsys) == [f"{orphan}: no manifest lists it" for orphan in orphans]
        else:
            assert faults_of(copy, capsys) == [f"{path}: is missing"]
        path.write_bytes(sound)


@pytest.mark.parametrize("copy", KINDS, indirect=True)
def test_files_of_others_stop_nothing(copy: Path) -> None:
    """A desktop's, a file server's, macOS's, and the user's own words on the set."""
    for below in ("", "data", "manifests", "quarantine", "index", "parts"):
        hidden = (".DS_Store", "._00000000.json", ".nfs0000000000c0ffee", "Thumbs.db", "desktop.ini")
        others = {"": OTHERS, "manifests": ("notes.txt", "00000000.json~")}
        for name in (*hidden, *others.get(below, ())):
            (copy / below).mkdir(exist_ok=True)
            (copy / below / name).write_bytes(b"\0\5\x16\7")
    assert verify(str(copy)) == (2, [])
    assert len(read_manifests(Folder(str(copy)))) == collect_stats(str(copy))["outputs"] == 2


@pytest.mark.parametrize("copy", ["webdataset"], indirect=True)
def test_strays_and_leftovers_are_named(copy: Path) -> None:
    strays = [copy / name for name in ("data/x.tar", "index/x.parquet", "quarantine/y", "z.txt")]
    for path in strays:
        path.write_bytes(b"?")
    found = verify(str(copy))[1]
    assert sorted(found) == [f"{path}: no manifest lists it" for path in sorted(strays)]
    for path in strays:
        path.unlink()
    (copy / "parts").mkdir()
    (copy / "parts/00000000-000000.parquet").write_bytes(b"?")
    assert verify(str(copy))[1] == [f"{copy}/parts: the run is not finished; the same command resumes it"]


@pytest.mark.parametrize("copy", ["captions"], indirect=True)
def test_a_manifest_under_another_name_is_no_commit(copy: Path) -> None:
    other = copy / "manifests/00000007.json"
    other.write_bytes((copy / "manifests/00000000.json").read_bytes())
    assert verify(str(copy))[1] == [f"{other}: is the manifest of 00000000"]
    with pytest.raises(UsageError, match=r"00000007\.json: is the manifest of 00000000"):
        read_manifests(Folder(str(copy)))


def change_manifest(copy: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    """Changes the first output's manifest and seals it again: what a bug in a writer would look like. Its path."""
    path = copy / "manifests/00000000.json"
    manifest = unseal(path.read_bytes())
    change(manifest)
    path.write_bytes(seal(manifest))
    return path


def replace_index(copy: Path, table: pa.Table) -> Path:
    """Replaces the first output's index by another one, sound by all hashes. Its path."""
    path = copy / "index/00000000.parquet"
    pq.write_table(table, path)

    def change(manifest: dict[str, Any]) -> None:
        file = next(out for out in manifest["outputs"] if out["path"] == "index/00000000.parquet")
        sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
        file |= {"rows": table.num_rows, "size": path.stat().st_size, "sha256": sha256}

    change_manifest(copy, change)
    return path


def rewritten(copy: Path, sets: Path, column: str, values: list[Any]) -> Path:
    """The set with another column in an index, sound by all hashes: what a bug in a writer would look like."""
    table = pq.read_table(sets / copy.name / "index/00000000.parquet")
    at = table.column_names.index(column)
    return replace_index(copy, table.set_column(at, table.schema.field(at), pa.array(values, table.schema.types[at])))


@pytest.mark.parametrize("copy", KINDS, indirect=True)
@pytest.mark.parametrize("more", [-1, 1])
def test_a_wrong_number_of_rows_is_found(copy: Path, more: int) -> None:
    """Of every file of an output, whose hash is sound: the data, the index and the quarantine."""
    sound = (copy / "manifests/00000000.json").read_bytes()
    outputs = unseal(sound)["outputs"]
    assert len(outputs) == (3 if copy.name in ("webdataset", "parquet") else 2)
    for place, out in enumerate(outputs):
        if (rows := out["rows"] + more) < 0:
            continue
        change_manifest(copy, lambda manifest: manifest["outputs"][place].update(rows=rows))  # noqa: B023  called here
        assert verify(str(copy)) == (2, [f"{copy}/{out['path']}: holds {out['rows']} rows, not {rows}"])
        (copy / "manifests/00000000.json").write_bytes(sound)


@pytest.mark.parametrize("copy", ["webdataset"], indirect=True)
def test_rows_that_a_manifest_does_not_account_for_are_found(copy: Path) -> None:
    """It is a damaged output like any other: the rest of the set is checked, and `--repair` removes it."""
    path = change_manifest(copy, lambda manifest: manifest.update(rows_in=9))
    line = f"{path}: 00000000: 9 rows in, but 7 out and 3 quarantined"
    assert verify(str(copy)) == (2, [line])
    with pytest.raises(UsageError, match="9 rows in, but 7 out and 3 quarantined: `shardloom verify --repair "):
        read_manifests(Folder(str(copy)))


@pytest.mark.parametrize("copy", ["webdataset", "parquet"], indirect=True)
@pytest.mark.parametrize("more", [-7, -2, -1, 1, 2])
def test_an_index_that_is_too_short_or_too_long_is_found(copy: Path, more: int) -> None:
    """Its rows are as many as its manifest says, and each is right but for those too many."""
    table = pq.read_table(copy / "index/00000000.parquet")
    rows = table.num_rows
    longer = pa.concat_tables([table, table.slice(0, max(more, 0))])
    path = replace_index(copy, longer.slice(0, max(rows + more, 0)))
    ending = "tar" if copy.name == "webdataset" else "parquet"
    line = f"{path}: lists {max(rows + more, 0)} samples, but data/00000000.{ending} holds {rows}"
    assert verify(str(copy)) == (2, [line])


@pytest.mark.parametrize("copy", ["webdataset"], indirect=True)
@pytest.mark.parametrize("change", ["key", "offset", "size", "ending", "member", "length", "missing", "order"])
def test_an_index_that_lies_is_found(copy: Path, sets: Path, change: str) -> None:
    """Of each value that a trainer goes by, in one sample of seven."""
    column = change if change in ("key", "offset", "size") else "members"
    values = pq.read_table(copy / "index/00000000.parquet")[column].to_pylist()
    key = pq.read_table(copy / "index/00000000.parquet")["key"][3].as_py()
    if change == "key":
        values[3] = key = f"{key}0"
    elif column != "members":
        values[3] += 512
    elif change == "missing":
        values[3].pop()
    elif change == "order":
        values[3].reverse()
    else:
        field, value = {"ending": ("ending", "png"), "member": ("offset", 1), "length": ("size", 1)}[change]
        values[3][1][field] = value
    path = rewritten(copy, sets, column, values)
    assert verify(str(copy))[1] == [f"{path}: sample {key} is not where the index says"]


@pytest.mark.parametrize("copy", ["parquet"], indirect=True)
def test_an_index_of_other_rows_is_found(copy: Path, sets: Path) -> None:
    keys = pq.read_table(copy / "index/00000000.parquet")["key"].to_pylist()
    keys[2], keys[3] = keys[3], keys[2]
    path = rewritten(copy, sets, "key", keys)
    assert verify(str(copy))[1] == [f"{path}: sample {keys[2]} is not where the index says"]


def test_a_folder_that_is_none(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "nothing"):
        with pytest.raises(UsageError, match=r"is not an output set: it has no recipe\.yaml"):
            verify(str(folder))
