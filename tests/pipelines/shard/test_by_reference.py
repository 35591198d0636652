"""Sets by reference: the images stay where they are, and whoever reads the set gets the same as from a copied one."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from curation.mixture.reader import ChangedImage
from pipelines.mix.run import mix
from pipelines.recipes.base import RunOptions
from pipelines.recipes.mix import MixRecipe
from pipelines.shard.materialise import materialise
from pipelines.stats.run import collect_stats
from pipelines.verify.run import verify
from schemas.errors import UsageError
from schemas.output_set.layout import read_manifests
from schemas.output_set.manifest import seal, unseal
from schemas.storage.folder import Folder
from tests.conftest import jpeg
from tests.pipelines.support.drivers import hashes
from tests.pipelines.support.sets import (
    ALONE,
    annotation_set,
    caption_set,
    in_process,
    join,
    read_tars,
    rows,
    write_samples,
)

EACH = 27  # the third output begins in the second block of the first shard, whose places count from elsewhere
Set = tuple[str, Path]  # glob of the images, folder of their captions


@pytest.fixture(scope="module")
def made(make_shards: Callable[..., str], tmp_path_factory: pytest.TempPathFactory) -> Set:
    """Two shards of 70 samples, more than a block of the census has."""
    folder = tmp_path_factory.mktemp("by-reference")
    images = make_shards(folder / "images", 2, 70)
    return images, caption_set(annotation_set(images, folder / "annotations"), folder / "captions")


@pytest.fixture(scope="module")
def copied(made: Set) -> Path:
    output = made[1].with_name("copied")
    join(*made, output, samples_per_shard=EACH)
    return output


@pytest.fixture(scope="module")
def referring(made: Set) -> Path:
    output = made[1].with_name("referring")
    join(*made, output, samples_per_shard=EACH, by_reference=True)
    return output


@pytest.fixture
def moved(made: Set, tmp_path: Path) -> Path:
    """A set by reference whose images were moved together with it; the recorded folder is not there."""
    shutil.copytree(made[1].parent / "images", tmp_path / "images")
    join(f"{tmp_path}/images/*.tar", made[1], tmp_path / "set", samples_per_shard=EACH, by_reference=True)
    (tmp_path / "here").mkdir()
    for name in ("images", "set"):
        (tmp_path / name).rename(tmp_path / "here" / name)
    return tmp_path / "here/set"


def mixed(sources: dict[str, Path], output: Path, **options: Any) -> Path:
    named = {name: str(folder) for name, folder in sources.items()}
    values = {"weights": dict.fromkeys(named, 1), "samples_per_shard": 64, "stop": "all_exhausted", "run": ALONE}
    mix(MixRecipe.model_validate({"sources": named} | values | options), str(output))
    return output


def data_of(output: Path) -> dict[str, str]:
    return {name: sha256 for name, sha256 in hashes(output).items() if name.startswith(("data/", "index/"))}


def test_captions_are_those_of_a_copied_set_and_images_are_bytes_of_the_inputs(copied: Path, referring: Path) -> None:
    whole, captions = read_tars(copied), read_tars(referring)
    assert len(whole) == 112
    assert captions == {key: {"json": found["json"], "txt": found["txt"]} for key, found in whole.items()}
    for row, known in zip(rows(referring, "index"), rows(copied, "index"), strict=True):
        (reference,) = row.pop("references")
        tar = Path(reference["tar"]).read_bytes()
        assert tar[reference["offset"] :][: reference["size"]] == whole[row["key"]][reference["ending"]]
        places = ("offset", "size", "members")
        assert {name: row[name] for name in row if name not in places} == {
            name: known[name] for name in known if name not in places
        }
    manifest = read_manifests(Folder(str(referring)))["00000000"]
    assert [folder.model_dump() for folder in manifest.image_folders] == [
        {"path": str(referring.with_name("images")), "from_set": "../images"}
    ]


def test_its_counts_and_card_are_those_of_any_set(copied: Path, referring: Path) -> None:
    counted = [collect_stats(str(output)) | {"times": None} for output in (copied, referring)]
    assert counted[0] == counted[1]
    assert verify(str(referring)) == (5, [])
    card = (referring / "README.md").read_text()
    assert "- name: txt" in card
    assert "jpg" not in card
    assert "`shardloom shard --materialise` copies them." in card
    assert "--materialise" not in (copied / "README.md").read_text()


def test_materialised_it_is_the_copied_set(copied: Path, referring: Path, tmp_path: Path) -> None:
    """With its manifests, recipe and card: `shard` itself finds nothing to do."""
    done = in_process("shard", "--materialise", referring, "--output", tmp_path / "out", "--workers", "1")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"{tmp_path}/out: 140 rows in, 112 out, 28 quarantined (28 no_caption)\n"
    assert hashes(tmp_path / "out") == hashes(copied)
    again = in_process("shard", "--materialise", referring, "--output", tmp_path / "out", "--workers", "1")
    assert again.stdout.endswith("; nothing was done, because all of it was there already\n")


def test_a_copy_that_was_begun_is_finished_by_either_command(
    made: Set, copied: Path, referring: Path, tmp_path: Path
) -> None:
    for number, finish in enumerate(
        (
            lambda output: materialise(str(referring), ALONE, [], output),
            lambda output: join(*made, Path(output), samples_per_shard=EACH),
        )
    ):
        output = tmp_path / str(number)
        materialise(str(referring), ALONE, [], str(output))
        for name in ("manifests/00000001.json", "data/00000001.tar"):
            (output / name).unlink()
        finish(str(output))
        assert hashes(output) == hashes(copied)


def test_a_copy_of_a_set_that_has_changed_is_another_set(referring: Path, tmp_path: Path) -> None:
    shutil.copytree(referring, tmp_path / "set")
    materialise(str(tmp_path / "set"), ALONE, [], str(tmp_path / "out"))
    manifest = tmp_path / "set/manifests/00000001.json"
    told = unseal(manifest.read_bytes())
    manifest.write_bytes(seal(told | {"counts": told["counts"] | {"characters": 1}}))
    with pytest.raises(UsageError) as error:
        materialise(str(tmp_path / "set"), ALONE, [], str(tmp_path / "out"))
    assert str(error.value) == (
        f"{tmp_path}/set has changed since {tmp_path}/out/data/00000001 was committed: use a new output folder"
    )


def test_only_a_set_by_reference_is_materialised(copied: Path, made: Set, tmp_path: Path) -> None:
    for folder in (copied, made[1]):
        with pytest.raises(UsageError) as error:
            materialise(str(folder), ALONE, [], str(tmp_path / "out"))
        assert str(error.value) == f"{folder} is not a set by reference: its images are in it, if it has any"
    done = in_process("shard", "--materialise", copied, "--format", "parquet", "--output", tmp_path / "out")
    assert (done.returncode, done.stderr) == (
        2,
        f"error: --format has no place beside --materialise: the set {copied} decides it\n",
    )


def test_a_set_in_parquet_has_its_images_in_it(made: Set, tmp_path: Path) -> None:
    arguments = ("--images", made[0], "--captions", made[1], "--output", tmp_path / "out", "--format", "parquet")
    done = in_process("shard", *arguments, "--by-reference")
    assert (done.returncode, done.stderr) == (
        2,
        "error: recipe: by_reference: a set in Parquet has its images in it: leave out by_reference, or format: "
        "parquet\n",
    )


def test_a_mixture_stays_by_reference_and_reads_no_image(copied: Path, referring: Path, tmp_path: Path) -> None:
    """It refers to the same tars, and is the mixture of copied sets once it is materialised, in either way."""
    known = mixed({"a": copied, "b": copied}, tmp_path / "known")
    images = referring.with_name("images")
    tars = {path: path.read_bytes() for path in images.iterdir()}
    for path in tars:
        path.write_bytes(b"")
    try:
        one = mixed({"a": referring, "b": copied}, tmp_path / "one")
    finally:
        for path, data in tars.items():
            path.write_bytes(data)
    assert verify(str(one)) == (4, [])
    found = {row["key"]: row["references"] for row in rows(one, "index")}
    assert {key for key, members in read_tars(one).items() if "jpg" not in members} == {
        key for key, references in found.items() if references
    }
    assert sum(references is None for references in found.values()) == 112
    both = mixed({"a": referring, "b": referring}, tmp_path / "both", materialise=True)
    assert data_of(both) == data_of(known)
    materialise(str(one), ALONE, [], str(tmp_path / "later"))
    assert data_of(tmp_path / "later") == data_of(known)
    assert verify(str(tmp_path / "later")) == (4, [])


def test_a_mixture_in_parquet_copies_images_only_if_asked(copied: Path, referring: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as error:
        mixed({"a": referring}, tmp_path / "out", format="parquet")
    assert str(error.value) == (
        "format: a mixture in Parquet has its images in it, but source a is by reference: copy its images with "
        "--materialise, or leave out parquet"
    )
    known = mixed({"a": copied}, tmp_path / "known", format="parquet")
    found = mixed({"a": referring}, tmp_path / "found", format="parquet", materialise=True)
    assert data_of(found) == data_of(known)


def test_a_mixture_names_the_present_place_of_the_images(moved: Path, tmp_path: Path) -> None:
    one = mixed({"a": moved}, tmp_path / "one")
    assert {reference["tar"].rpartition("/")[0] for row in rows(one, "index") for reference in row["references"]} == {
        f"{moved.parent}/images"
    }
    (moved.parent / "images").rename(tmp_path / "there")
    recorded = str(tmp_path / "images")
    two = mixed({"a": moved}, tmp_path / "two", images={recorded: str(tmp_path / "there")})
    assert verify(str(two)) == (2, [])
    with pytest.raises(UsageError, match=rf"^source a: {moved}: its images were in {recorded}, which is not there now"):
        mixed({"a": moved}, tmp_path / "three")


def test_a_changed_tar_is_not_copied(moved: Path, tmp_path: Path) -> None:
    path = moved.parent / "images/00000001.tar"
    row = next(row for row in rows(moved, "index") if row["references"][0]["tar"].endswith("1.tar"))
    data = bytearray(path.read_bytes())
    data[row["references"][0]["offset"] + 30] ^= 1
    path.write_bytes(data)
    with pytest.raises(ChangedImage) as error:
        materialise(str(moved), ALONE, [], str(tmp_path / "out"))
    assert str(error.value) == (
        f"{moved}/data/{row['key'][:8]}.tar: {row['key']}: {path} has changed since this set was made from it: restore "
        "the tar, or make the set again"
    )


def test_a_set_begun_without_references_is_another_set(made: Set, copied: Path) -> None:
    stored = (copied / "recipe.yaml").read_text()
    assert "by_reference" not in stored, "the recipes of older sets lack it, and must stay the same"
    with pytest.raises(UsageError, match="by_reference is None there and True here"):
        join(*made, copied, samples_per_shard=EACH, by_reference=True)


def test_keys_and_paths_of_strange_names(made: Set, tmp_path: Path) -> None:
    """Of folders with spaces, brackets, equal signs and letters of any script, and of a tar with a question mark."""
    folder = tmp_path / "a=b [1] {x,y} é"
    shutil.copytree(made[1].parent / "images", folder)
    (folder / "00000000.tar").rename(folder / "which one?.tar")
    join(f"{folder}/which one?.tar", made[1], tmp_path / "out", by_reference=True)
    assert verify(str(tmp_path / "out")) == (7, [])
    other = folder.rename(tmp_path / "c=d")
    assert (
        verify(str(tmp_path / "out"), [f"{folder}={other}"]) == verify(str(tmp_path / "out"), [str(other)]) == (7, [])
    )


def test_tars_with_names_in_extended_headers(tmp_path: Path) -> None:
    """The name of a member precedes its header, also where a block of the census begins."""
    samples = [(f"{number:0120d}", jpeg(number), "", dict[str, Any]()) for number in range(70)]
    images = write_samples(tmp_path / "images/00000000.tar", samples)
    captions = caption_set(annotation_set(images, tmp_path / "annotations"), tmp_path / "captions")
    for name in ("copied", "referring"):
        join(images, captions, tmp_path / name, samples_per_shard=EACH, by_reference=name == "referring")
    assert verify(str(tmp_path / "referring")) == (3, [])
    materialise(str(tmp_path / "referring"), ALONE, [], str(tmp_path / "out"))
    assert hashes(tmp_path / "out") == hashes(tmp_path / "copied")
    sources = [json.loads(members["json"])["source_key"] for members in read_tars(tmp_path / "out").values()]
    assert sources == [key for key, *_ in samples if int(key) % 5]


@pytest.mark.ray
@pytest.mark.xdist_group("ray")
def test_two_workers_give_the_same_bytes(made: Set, copied: Path, referring: Path, tmp_path: Path) -> None:
    join(*made, referring.with_name("two"), samples_per_shard=EACH, by_reference=True, run=RunOptions(workers=2))
    assert hashes(referring.with_name("two")) == hashes(referring)
    materialise(str(referring), RunOptions(workers=2), [], str(tmp_path / "out"))
    assert hashes(tmp_path / "out") == hashes(copied)
