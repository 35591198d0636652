"""Outputs are replaced as a whole, and no file of an old one stays that no new one has."""

import json
from pathlib import Path

import pytest

from pipelines.output.replacement import finish_replacements, open_staging, replace_unit
from pipelines.output.writer import write_output
from schemas.errors import ShardloomError
from schemas.output_set.layout import read_manifests
from schemas.output_set.manifest import Manifest, seal
from schemas.storage.folder import Folder
from tests.pipelines.support.deaths import Deaths, die_at_each_step


def make_output(folder: Folder, name: str, data: bytes, unit_outputs: int = 1) -> Manifest:
    """The files of an output with a side file, and its manifest, which is not committed."""
    files = [write_output(folder, f"data/{name}{ending}", data, 1) for ending in (".tar", ".json")]
    made = Manifest.build(name, "", inputs=[], rows_in=1, data=files[0], others=files[1:])
    return made.model_copy(update={"unit_outputs": unit_outputs})


def make_set(folder: Path) -> Folder:
    """A set of an ingest: unit 7 has three outputs, unit 8 one."""
    output = Folder(str(folder))
    for name, outputs in ("00000007", 3), ("00000007_001", 1), ("00000007_002", 1), ("00000008", 1):
        made = make_output(output, name, b"old", outputs)
        output.write(f"manifests/{name}.json", made.to_json())
    return output


def read_data(output: Folder) -> dict[str, bytes]:
    return {name: output.read(f"data/{name}") for name in output.list_files("data")}


NEW = {"00000007.json": b"new", "00000007.tar": b"new", "00000007_001.json": b"new", "00000007_001.tar": b"new"}
OTHER = {"00000008.json": b"old", "00000008.tar": b"old"}


def replace(output: Folder) -> None:
    """Replaces the three outputs by two."""
    staged = open_staging(output)
    replace_unit(
        output, "ingest", "00000007", [make_output(staged, name, b"new") for name in ("00000007", "00000007_001")]
    )


def test_outputs_that_are_gone_leave_no_file(tmp_path: Path) -> None:
    output = make_set(tmp_path)
    replace(output)
    assert read_data(output) == NEW | OTHER
    assert sorted(read_manifests(output)) == ["00000007", "00000007_001", "00000008"]
    assert output.list_files("parts/retry/data") == []


def test_a_death_at_each_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The old outputs or the new ones, with the files of these alone, once the order is carried out again."""
    folders = iter(range(1000))
    output = Folder(str(tmp_path))

    def prepare() -> None:
        nonlocal output
        output = make_set(tmp_path / str(next(folders)))

    def work() -> None:
        if not output.exists("parts/retry"):
            replace(output)
            return
        finish_replacements(output, "ingest")
        old = {f"00000007{more}{ending}": b"old" for more in ("", "_001", "_002") for ending in (".tar", ".json")}
        manifests = sorted(read_manifests(output))
        is_new = manifests == ["00000007", "00000007_001", "00000008"]
        assert is_new or manifests == ["00000007", "00000007_001", "00000007_002", "00000008"]
        assert read_data(output) == (NEW if is_new else old) | OTHER

    assert die_at_each_step(Deaths(monkeypatch), prepare, work) > 15


def test_an_order_of_an_older_version(tmp_path: Path) -> None:
    """It names no files to remove."""
    output = make_set(tmp_path)
    made = make_output(open_staging(output), "00000008", b"new")
    output.write("parts/retry/orders/00000008.json", seal({"manifests": [made.model_dump(mode="json")]}))
    finish_replacements(output, "ingest")
    assert read_data(output)["00000008.tar"] == b"new"
    assert len(read_manifests(output)) == 4


@pytest.mark.parametrize("path", ["../x", "recipe.yaml", "data/../../x", "/etc/passwd"])
def test_an_order_removes_no_file_outside_of_the_outputs(tmp_path: Path, path: str) -> None:
    output = make_set(tmp_path / "set")
    (tmp_path / "x").touch()
    removed = {"path": path, "rows": 0, "size": 0, "sha256": ""}
    output.write("parts/retry/orders/00000008.json", seal({"manifests": [], "removed": [removed]}))
    with pytest.raises(ShardloomError, match=r"00000008\.json is damaged: .*: remove it, and retry again"):
        finish_replacements(output, "ingest")
    assert (tmp_path / "x").exists()
    assert len(read_manifests(output)) == 4
    assert json.loads(output.read("manifests/00000008.json"))["rows_out"] == 1
