"""The card of a set is written again, with a licence and with scores, and only for a finished set."""

from collections.abc import Callable
from pathlib import Path

import pytest

from pipelines.card.run import name_set, refresh_card
from pipelines.output.scores import record_scores
from pipelines.verify.run import verify
from schemas.errors import UsageError
from schemas.storage.folder import Folder
from tests.pipelines.support.sets import annotation_set, caption_set, in_process

OCR = {"what": "ocr", "truth": "truth.jsonl", "total": {"cer": {"value": 0.125, "low": 0.1, "high": 0.25}, "images": 3}}


@pytest.fixture
def annotations(make_shards: Callable[..., str], tmp_path: Path) -> Path:
    return annotation_set(make_shards(tmp_path / "images", shards=1, samples=6), tmp_path / "annotations")


@pytest.fixture
def without_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipelines.card.run.has_extra", lambda _: False)


@pytest.mark.usefixtures("without_extra")
def test_a_licence_and_scores(annotations: Path, tmp_path: Path) -> None:
    record_scores(Folder(str(annotations)), OCR)
    written = refresh_card(str(annotations), "cc-by-4.0")
    assert (written.card, written.croissant) == (f"{annotations}/README.md", None)
    card = (annotations / "README.md").read_text()
    assert card.startswith("---\nlicense: cc-by-4.0\nconfigs:\n")
    assert "| ocr | cer | 0.125 (0.100 to 0.250) | truth.jsonl |" in card
    assert "Licence of this set: cc-by-4.0." in card
    refresh_card(str(annotations))
    assert (annotations / "README.md").read_text() == card, "the licence stays"
    captions = caption_set(annotations, tmp_path / "captions")
    refresh_card(str(captions))
    page = (captions / "README.md").read_text()
    assert "| annotations | cc-by-4.0 |" in page
    assert "Licence of this set: not stated; `shardloom card SET --license NAME` states it." in page
    assert verify(str(annotations)) == (1, [])


@pytest.mark.usefixtures("without_extra")
def test_the_command(annotations: Path) -> None:
    done = in_process("card", annotations)
    assert (done.returncode, done.stdout) == (0, f"{annotations}/README.md\n")
    assert done.stderr == "no croissant.json is written: pip install 'shardloom[croissant]'\n"
    assert not (annotations / "croissant.json").exists()


def test_metadata_of_a_set_that_changes_are_removed(annotations: Path, tmp_path: Path) -> None:
    """They have the hashes of files that are others now. A run that changes nothing keeps them."""
    captions = caption_set(annotations, tmp_path / "captions")
    (captions / "croissant.json").write_text("{}")
    caption_set(annotations, captions)
    assert (captions / "croissant.json").exists()
    (captions / "manifests/00000000.json").unlink()
    caption_set(annotations, captions)
    assert not (captions / "croissant.json").exists()
    assert verify(str(captions)) == (1, [])


def test_an_unfinished_set_is_refused(annotations: Path) -> None:
    (annotations / "parts").mkdir()
    (annotations / "parts/unfinished").touch()
    with pytest.raises(UsageError, match="is not finished: the command that made it resumes it; write its card then"):
        refresh_card(str(annotations))


@pytest.mark.usefixtures("without_extra")
def test_an_edited_card_is_kept(annotations: Path) -> None:
    card = annotations / "README.md"
    refresh_card(str(annotations))
    card.write_text(card.read_text().replace("# Output", "# My output"))
    refresh_card(str(annotations))
    assert "# My output" in card.read_text()


def test_the_name_of_a_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my set/data").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "my set/data")
    for path in ("..", "../", f"{tmp_path}/my set", f"{tmp_path}/other/../my set/."):
        assert name_set(Folder(path)) == "my set"
    assert name_set(Folder(".")) == "data"
    assert name_set(Folder("/")) == "set"
    assert name_set(Folder("memory://bucket/sets/a/")) == "a"
