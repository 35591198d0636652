"""A model's folder is whole or absent, wherever it is written."""

import json
from pathlib import Path

import pytest
from tokenizers import Tokenizer
from tokenizers.models import BPE

from schemas.errors import ShardloomError, UsageError
from tests.pipelines.support.sets import small_disk
from training.model.folders.new import check_is_new, open_export


def write(target: Path, replace: bool = False, text: str = "{}") -> None:
    with open_export(target, replace) as folder:
        (folder / "config.json").write_text(text)
        (folder / "model.safetensors").write_bytes(b"0")


def contents(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_new_folder(tmp_path: Path) -> None:
    with open_export(tmp_path / "below/model") as folder:
        (folder / "config.json").write_text("{}")
        assert not (tmp_path / "below/model").exists()
    assert contents(tmp_path / "below") == ["model"]
    assert contents(tmp_path / "below/model") == ["config.json"]


def test_an_empty_folder_stays_the_same_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may be a mount, the working folder, or what a link points to; another folder could not take its place."""
    (tmp_path / "here").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "here")
    monkeypatch.chdir(tmp_path / "here")
    for target in (Path(), tmp_path / "link", tmp_path / "here"):
        before = (tmp_path / "here").stat().st_ino
        write(target)
        assert (tmp_path / "here").stat().st_ino == before
        assert contents(Path()) == contents(tmp_path / "here")
        assert contents(tmp_path / "here") == ["config.json", "model.safetensors"]
        for path in (tmp_path / "here").iterdir():
            path.unlink()
    assert contents(tmp_path) == ["here", "link"]


def test_a_mount(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 1 << 16) as disk:
        write(disk)
        assert contents(disk) == ["config.json", "model.safetensors"]


def test_what_a_killed_export_has_left(tmp_path: Path) -> None:
    (tmp_path / "model/.unfinished").mkdir(parents=True)
    (tmp_path / "model/.unfinished/half").write_text("")
    (tmp_path / ".other.unfinished").mkdir()
    check_is_new(tmp_path / "model")
    write(tmp_path / "model")
    write(tmp_path / "other")
    assert contents(tmp_path) == ["model", "other"]
    assert contents(tmp_path / "model") == ["config.json", "model.safetensors"]


def test_an_older_model_is_replaced_or_refused(tmp_path: Path) -> None:
    write(tmp_path / "model")
    with pytest.raises(UsageError, match=r"^export: .*model exists and is not empty; pass a new folder$"):
        write(tmp_path / "model")
    write(tmp_path / "model", replace=True, text="[]")
    assert json.loads((tmp_path / "model/config.json").read_text()) == []
    assert contents(tmp_path) == ["model"]


def test_a_full_disk(tmp_path: Path) -> None:
    """tokenizers raises a plain Exception there."""
    tokenizer = Tokenizer(BPE({f"piece {number}": number for number in range(5000)}, []))
    line = r"^export: cannot write .*/model: .*No space left .*; free disk space, and export the model again$"
    with small_disk(tmp_path / "disk", 1 << 14) as disk:
        with pytest.raises(ShardloomError, match=line), open_export(disk / "model") as folder:
            tokenizer.save(str(folder / "tokenizer.json"))
        with pytest.raises(ShardloomError, match=line), open_export(disk / "model") as folder:
            (folder / "model.safetensors").write_bytes(bytes(1 << 15))
        assert contents(disk) == []


def test_other_errors(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ShardloomError, match=r"^export: cannot write .*file/model: .*; pass another folder$"):
        write(tmp_path / "file/model")
    with pytest.raises(KeyError), open_export(tmp_path / "model"):
        raise KeyError("a fault of ours")
    assert contents(tmp_path) == ["file"]
