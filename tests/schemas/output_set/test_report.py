"""A report never fails a run: whatever goes wrong with it is one line."""

from pathlib import Path

import pytest

from schemas.output_set import report
from schemas.output_set.layout import REPORT
from schemas.output_set.report import write_report
from schemas.storage.folder import Folder


def test_a_folder_that_no_page_can_show(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_report(Folder(str(tmp_path)))
    reason = f"UsageError: {tmp_path} is not an output set: it has no recipe.yaml"
    assert capsys.readouterr().err == f"{tmp_path}/{REPORT} was not written: {reason}\n"
    assert list(tmp_path.iterdir()) == []


def test_an_installation_without_the_pages(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report, "WRITER", "pipelines.view.none")
    write_report(Folder(str(tmp_path)))
    reason = "ModuleNotFoundError: No module named 'pipelines.view.none'"
    assert capsys.readouterr().err == f"{tmp_path}/{REPORT} was not written: {reason}\n"
