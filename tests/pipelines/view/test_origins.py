"""Below the captions of a card stands where they come from."""

from pathlib import Path

import pytest

from pipelines.view import ViewOptions, write_view
from pipelines.view.origins import describe_origin
from pipelines.view.source import SetSource
from schemas.output_set.layout import read_manifests
from schemas.output_set.recipe_file import read_stored_recipe
from schemas.storage.folder import Folder
from tests.conftest import jpeg, write_shard
from tests.pipelines.support.pages import read_page
from tests.pipelines.support.sets import annotation_set, caption_set, in_process, join, rows

KEY = "000000000001"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("origins")
    (folder / "images").mkdir()
    write_shard(folder / "images/0.tar", [jpeg(number) for number in range(3)])
    images = f"{folder}/images/*.tar"
    caption_set(annotation_set(images, folder / "annotations"), folder / "captions")
    join(images, folder / "captions", folder / "training")
    return folder


def describe(folder: Path, name: str, key: str) -> tuple[tuple[str, str], ...]:
    output = Folder(str(folder))
    return describe_origin(SetSource(output, read_stored_recipe(output)), name, key)


def test_what_a_manifest_says(folder: Path) -> None:
    shard = ("image shard", f"{folder}/images/0.tar")
    trace = f"shardloom explain {folder}"
    assert describe(folder / "annotations", "0", KEY) == (
        ("ocr", "pixel 1"),
        shard,
        ("trace it", f"{trace}/annotations 0/{KEY}"),
    )
    assert describe(folder / "captions", "0", "a b") == (
        ("ocr", "pixel 1"),
        ("annotations", f"{folder}/annotations"),
        shard,
        ("trace it", f"{trace}/captions '0/a b'"),
    )
    assert describe(folder / "training", "00000000", "k") == (
        ("captions", f"{folder}/captions"),
        shard,
        ("trace it", f"{trace}/training 00000000/k"),
    )


def test_weights_are_named_by_the_start_of_their_hash(folder: Path) -> None:
    output = Folder(str(folder / "annotations"))
    manifests = read_manifests(output)
    made = manifests["0"].fingerprints["ocr"].model_copy(update={"weights_sha256": "0123456789abcdef" * 4})
    known = {"0": manifests["0"].model_copy(update={"fingerprints": {"ocr": made}})}
    source = SetSource(output, read_stored_recipe(output), known)
    assert describe_origin(source, "0", KEY)[0] == ("ocr", "pixel 1, weights 0123456789ab")


@pytest.mark.parametrize("name", ["annotations", "captions", "training"])
def test_pages_have_it_and_its_command_runs(folder: Path, name: str, tmp_path: Path) -> None:
    key = rows(folder / "training", "index")[0]["key"] if name == "training" else KEY
    write_view(f"{folder}/{name}", f"{tmp_path}/page.html", ViewOptions(key=key))
    (origin,) = read_page((tmp_path / "page.html").read_bytes()).find_all("details", class_="origin")
    assert origin.find_all("summary")[0].read() == "where it comes from"
    *_, command = [one.read() for one in origin.find_all("dd")]
    assert command.split()[:2] == ["shardloom", "explain"]
    done = in_process(*command.split()[1:])
    assert done.returncode == 0, done.stderr
    assert f" in {folder}/images/0.tar at byte " in done.stdout
