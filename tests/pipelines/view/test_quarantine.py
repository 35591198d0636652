"""Quarantined rows on a page: some of every reason, from few files, and what a page says where it cannot have all."""

from collections.abc import Callable
from pathlib import Path

import pytest

from pipelines.view import quarantine
from pipelines.view.options import ViewOptions
from pipelines.view.quarantine import SHOWN, choose_quarantined
from pipelines.view.run import build_page
from pipelines.view.source import MAX_DAMAGED, SetSource
from schemas.output_set.layout import read_manifests
from schemas.output_set.recipe_file import read_stored_recipe
from schemas.storage.folder import Folder
from tests.conftest import jpeg, write_shard
from tests.pipelines.support.sets import annotation_set, caption_set, join, line

SHARDS, SAMPLES = 12, 3


@pytest.fixture(scope="module")
def captions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Captions of twelve shards: every image has too few lines, but for one in the last, whose engine has failed."""
    folder = tmp_path_factory.mktemp("quarantine")
    (folder / "images").mkdir()
    for shard in range(SHARDS):
        images = [jpeg(number) for number in range(SAMPLES)]
        write_shard(folder / f"images/{shard:08d}.tar", images, first=100 * shard)
    last = f"{100 * SHARDS - 100:012d}"
    found = annotation_set(f"{folder}/images/*.tar", folder / "annotations", lambda key: [line("x")] * (key == last))
    return caption_set(found, folder / "captions")


def open_set(folder: Path) -> SetSource:
    output = Folder(str(folder))
    return SetSource(output, read_stored_recipe(output))


def read_counted(monkeypatch: pytest.MonkeyPatch, source: SetSource) -> tuple[list[str], list[str]]:
    """The files that are read, and the shards of the rows that are chosen."""
    read: list[str] = []
    plain = quarantine.read_file

    def read_file(one: SetSource, name: str, folder: str) -> object:
        read.append(name)
        return plain(one, name, folder)

    monkeypatch.setattr(quarantine, "read_file", read_file)
    return read, [name for name, _ in choose_quarantined(source)]


def test_few_files_are_read(captions: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read, shown = read_counted(monkeypatch, open_set(captions))
    assert read == [f"{number:08d}" for number in range(8)]
    assert len(shown) == min(SHOWN, 8 * SAMPLES)


def test_a_reason_that_only_the_last_file_has(captions: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = open_set(captions)
    last = f"{SHARDS - 1:08d}"
    other = source.manifests[last].model_copy(update={"reasons": {"no_caption": 2}})
    changed = SetSource(source.folder, source.recipe, source.manifests | {last: other})
    read, _ = read_counted(monkeypatch, changed)
    assert read == ["00000000", last, *(f"{number:08d}" for number in range(1, 7))]


def read_note(folder: Path, source: SetSource | None = None) -> str:
    page = build_page(Folder(str(folder)), ViewOptions(), None if source is None else source.manifests)
    (section,) = [one for one in page.sections if one.is_dense]
    return section.note


def test_the_note_counts_the_reasons_that_are_shown(captions: Path) -> None:
    assert read_note(captions) == "24 of 35 rows that were left out, some of every reason"
    source = open_set(captions)
    more = {
        name: one.model_copy(update={"reasons": {f"reason {name}": SAMPLES}})
        for name, one in list(source.manifests.items())[:-1]
    }
    changed = SetSource(source.folder, source.recipe, source.manifests | more)
    assert read_note(captions, changed) == "24 of 35 rows that were left out, some of 1 of 12 reasons"


def test_a_set_whose_rows_are_all_left_out(tmp_path: Path, make_shards: Callable[..., str]) -> None:
    images = make_shards(tmp_path / "images", shards=1, samples=3)
    annotations = annotation_set(images, tmp_path / "annotations", lambda _: [])
    captions = caption_set(annotations, tmp_path / "captions")
    page = build_page(Folder(str(captions)), ViewOptions())
    assert [(one.title, len(one.cards)) for one in page.sections] == [("Captions", 0), ("Quarantined", 3)]
    assert page.sections[0].note == "0 of 0 rows; charts are of the 0 rows in 0 of 0 files"
    assert [picture.fault for card in page.sections[1].cards for picture in card.pictures] == [""] * 3
    join(images, captions, tmp_path / "training")
    page = build_page(Folder(str(tmp_path / "training")), ViewOptions())
    assert [(one.title, len(one.cards)) for one in page.sections] == [("Samples", 0), ("Quarantined", 3)]


def test_few_damaged_outputs_are_named(captions: Path) -> None:
    manifests = read_manifests(Folder(str(captions)))
    damaged = {
        name: one.model_copy(update={"damage": [f"byte {n}"] * 4}) for n, (name, one) in enumerate(manifests.items())
    }
    notes = build_page(Folder(str(captions)), ViewOptions(), damaged).notes
    assert notes[0] == "00000000 is damaged: byte 0; byte 0; byte 0"
    assert notes[MAX_DAMAGED:] == ["2 more are damaged: `shardloom stats --json` names them"]
    assert (
        len(build_page(Folder(str(captions)), ViewOptions(), dict(list(damaged.items())[:MAX_DAMAGED])).notes)
        == MAX_DAMAGED
    )
