"""The age of a file is told by the store's clock."""

from pathlib import Path

import pytest

from schemas.output_set.holder import CLOCK_FILE, measure_age
from schemas.storage.folder import Folder


def test_a_clock_that_another_run_removes_is_written_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file of which no age is known counts as that of a run that has ended."""
    folder = Folder(str(tmp_path))
    folder.write("a", b"")
    real, asked = Folder.get_modified_time, list[str]()

    def get_modified_time(self: Folder, name: str) -> float | None:
        asked.append(name)
        if len(asked) == 1:
            self.remove(name)
        return real(self, name)

    monkeypatch.setattr(Folder, "get_modified_time", get_modified_time)
    assert 0 <= measure_age(folder, "a") < 60
    assert asked == [CLOCK_FILE, "a"] * 2
    assert folder.list_files("", CLOCK_FILE) == []


def test_a_missing_file_is_older_than_any(tmp_path: Path) -> None:
    assert measure_age(Folder(str(tmp_path)), "a") == float("inf")
