"""What a set by reference refers to: each tar that changed, went or moved is named in one line."""

import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.mix.run import mix
from pipelines.recipes.mix import MixRecipe
from pipelines.shard.materialise import materialise
from pipelines.verify.repair import repair
from pipelines.verify.run import verify
from schemas.output_set.image_folders import ADVICE
from schemas.output_set.manifest import seal, unseal
from tests.pipelines.support.sets import ALONE, annotation_set, caption_set, in_process, join, read_tars, rows


@pytest.fixture(scope="module")
def made(make_shards: Callable[..., str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("references")
    captions = caption_set(annotation_set(make_shards(folder / "images", 2, 10), folder / "a"), folder / "captions")
    join(f"{folder}/images/*.tar", captions, folder / "set", samples_per_shard=5, by_reference=True)
    mix(MixRecipe(sources={"a": [f"{folder}/set"]}, weights={"a": 1}, run=ALONE), f"{folder}/mixed")
    return folder


@pytest.fixture(params=["set", "mixed"])
def folder(made: Path, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    """A set by reference with its images, the place of which it has recorded."""
    shutil.copytree(made, tmp_path / "work")
    (tmp_path / "work" / request.param).rename(tmp_path / "work/out")
    for manifest in (tmp_path / "work/out/manifests").iterdir():
        told = unseal(manifest.read_bytes())
        told["image_folders"][0] = {"path": str(made / "images"), "from_set": "../images"}
        manifest.write_bytes(seal(told))
    made.joinpath("images").rename(tmp_path / "recorded")
    yield tmp_path / "work"
    (tmp_path / "recorded").rename(made / "images")


def faults_of(folder: Path, *arguments: object) -> list[str]:
    """What `verify` prints, of which the last line counts the faults."""
    done = in_process("verify", folder / "out", *arguments)
    assert done.returncode == 1
    *lines, last = done.stderr.splitlines()
    outputs = len(list((folder / "out/manifests").iterdir()))
    assert last == f"error: {folder}/out: faults in {outputs} checked outputs: {len(lines)}"
    return lines


def references(folder: Path, tar: str) -> list[tuple[str, int]]:
    """The key of each sample that refers to this tar, and the place of its image."""
    found = [(row["key"], row["references"][0]) for row in rows(folder / "out", "index")]
    return [(key, reference["offset"]) for key, reference in found if reference["tar"].endswith(tar)]


def test_a_sound_set(folder: Path) -> None:
    outputs = len(list((folder / "out/manifests").iterdir()))
    assert verify(str(folder / "out")) == (outputs, [])
    assert repair(str(folder / "out")).faults == []


def test_a_changed_tar(folder: Path) -> None:
    path = folder / "images/00000001.tar"
    (_, first), (key, second), *_ = known = references(folder, path.name)
    assert len(known) == 8
    data = bytearray(path.read_bytes())
    data[second + 40] ^= 1
    path.write_bytes(data)
    assert faults_of(folder) == [
        f"{path}: has changed: 1 of 8 images of this set differ, first that of {key}: restore it, or make the set again"
    ]
    assert verify(str(folder / "out"), skip_images=True)[1] == []
    path.write_bytes(data[: min(place for _, place in known)])
    line = f"{path}: has changed: 8 of 8 images of this set differ, first that of {known[0][0]}: "
    for arguments in ((), ("--skip-images",)):
        assert faults_of(folder, *arguments) == [f"{line}restore it, or make the set again"]
    assert first


def test_a_missing_tar_and_one_that_is_none(folder: Path) -> None:
    path = folder / "images/00000000.tar"
    key = references(folder, path.name)[0][0]
    path.unlink()
    expected = [f"{path}: is missing, with 8 images of this set, first that of {key}: {ADVICE}"]
    for arguments in ((), ("--skip-images",)):
        assert faults_of(folder, *arguments) == expected
    done = in_process("verify", folder / "out", "--repair")
    assert done.stderr.splitlines()[:-1] == expected, "nothing can be made again, so nothing is removed"
    os.mkfifo(path)
    line = f"{path}: has changed: 8 of 8 images of this set differ, first that of {key}: "
    assert faults_of(folder) == [f"{line}restore it, or make the set again"]


def test_moved_images(folder: Path, made: Path) -> None:
    (folder / "images").rename(folder / "there")
    recorded = made / "images"
    assert faults_of(folder) == [
        f"{folder}/out: its images were in {recorded}, which is not there now: pass --images {recorded}=FOLDER, or in "
        f"a recipe images (a trainer's data.images): {{{recorded}: FOLDER}}"
    ]
    for place in (f"{recorded}={folder}/there", f"{folder}/there", f"{made}={folder}/new"):
        if place.endswith("/new"):
            (folder / "new").mkdir()
            (folder / "there").rename(folder / "new/images")
        done = in_process("verify", folder / "out", "--images", place)
        assert (done.returncode, done.stderr) == (0, ""), place


def rewrite(folder: Path, reference: dict[str, Any] | None) -> Path:
    """Gives the first sample of the set another reference; sound by all hashes, as others may have written it."""
    path = folder / "out/index/00000000.parquet"
    table = pq.read_table(path)
    cells = table["references"].to_pylist()
    cells[0] = [] if reference is None else [cells[0][0] | reference]
    at = table.schema.get_field_index("references")
    pq.write_table(table.set_column(at, table.schema.field(at), pa.array(cells, table.schema.field(at).type)), path)
    manifest = folder / "out/manifests/00000000.json"
    told = unseal(manifest.read_bytes())
    file = next(out for out in told["outputs"] if out["path"] == "index/00000000.parquet")
    file |= {"size": path.stat().st_size, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
    manifest.write_bytes(seal(told))
    return path


@pytest.mark.parametrize(
    ("reference", "fault"),
    [
        ({"tar": "/etc/passwd"}, "it refers to /etc/passwd, which is not a tar in a folder that its manifest names"),
        (
            {"tar": "http://169.254.169.254/0.tar"},
            "it refers to http://169.254.169.254/0.tar, which is not a tar in a folder that its manifest names",
        ),
        ({"ending": "a/b"}, "it refers to an image with the ending 'a/b'"),
        (None, "sample 00000000000000 has 1 images and refers to 0"),
    ],
)
def test_references_that_lead_astray(folder: Path, reference: dict[str, Any] | None, fault: str) -> None:
    path = rewrite(folder, reference)
    assert faults_of(folder) == [f"{path}: {fault}"]


def test_a_reference_behind_eight_gigabytes(folder: Path, tmp_path: Path) -> None:
    """Of a tar with a hole, which takes no room on a disk."""
    first = next(row for row in rows(folder / "out", "index") if row["references"])["references"][0]
    tar, offset = folder / "images" / Path(first["tar"]).name, 9 << 30
    image = tar.read_bytes()[first["offset"] :][: first["size"]]
    with (folder / "images/large.tar").open("wb") as file:
        file.seek(offset)
        file.write(image)
    rewrite(folder, {"tar": first["tar"].replace(tar.name, "large.tar"), "offset": offset})
    outputs = len(list((folder / "out/manifests").iterdir()))
    assert verify(str(folder / "out")) == (outputs, [])
    materialise(str(folder / "out"), ALONE, [], str(tmp_path / "copy"))
    assert next(iter(read_tars(tmp_path / "copy").values()))[first["ending"]] == image
    rewrite(folder, {"tar": first["tar"].replace(tar.name, "large.tar"), "offset": offset + 1})
    (line,) = faults_of(folder)
    assert line.startswith(f"{folder}/images/large.tar: has changed: 1 of 1 images of this set differ, first that of ")


@pytest.mark.parametrize("reference", [{"offset": -512}, {"offset": 1 << 60}, {"size": 1 << 60}, {"size": -1}])
def test_references_outside_of_their_tar(folder: Path, reference: dict[str, Any]) -> None:
    rewrite(folder, reference)
    (line,) = faults_of(folder)
    assert faults_of(folder, "--skip-images") == [line]
    assert ".tar: has changed: 1 of 8 images of this set differ, first that of 00000000000000: " in line
