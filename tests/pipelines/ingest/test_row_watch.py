"""A row that asks for hours is left out by name; its neighbours stay."""

from pathlib import Path
from typing import NoReturn

import pytest

from curation.sources import text
from pipelines.recipes.ingest import IngestRun
from schemas.output_set.layout import read_manifests
from schemas.storage.folder import Folder
from tests.pipelines.support.published import take_in
from tests.pipelines.support.sets import rows


def spin() -> NoReturn:
    while True:
        pass


@pytest.mark.parametrize("repeats", ["keep", "exact"])
@pytest.mark.parametrize("slow", [0, 1, 30])
def test_a_slow_row_is_named_and_costs_no_neighbour(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, slow: int, repeats: str
) -> None:
    """Also among the first rows, which tell whether the set is the one that it is called."""
    read = text.parse_json_object
    monkeypatch.setattr(text, "parse_json_object", lambda line, name: spin() if "slow" in line else read(line, name))
    lines = [f'{{"text": "{"slow" if row == slow else "fast"} {row}"}}\n' for row in range(32)]
    (tmp_path / "a.jsonl").write_text("".join(lines))
    run = IngestRun(workers=1, row_seconds=0.1)
    take_in("text", str(tmp_path / "a.jsonl"), tmp_path / "out", run=run, repeated_images=repeats)
    (row,) = rows(tmp_path / "out", "quarantine")
    assert (row["key"], row["stage"], row["reason"], row["detail"]) == (
        str(slow),
        "ingest",
        "too_slow",
        "more than 0.1 s of CPU time",
    )
    (manifest,) = read_manifests(Folder(str(tmp_path / "out"))).values()
    assert (manifest.rows_in, manifest.rows_out, manifest.reasons) == (32, 31, {"too_slow": 1})
