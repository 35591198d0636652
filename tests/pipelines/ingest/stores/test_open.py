"""A set whose images are addresses is refused without a store, or at the least the losses are told."""

from pathlib import Path
from typing import Any

import pytest

from pipelines.cli.app import main
from pipelines.ingest.run import FIRST_ROWS
from tests.pipelines.support.published import interleaved, write_parquet

STORES = "pass --images with img2dataset shards of them, a map of URLs to files, or a folder; or --download"


def texts_and_one_document(folder: Path, texts: int) -> str:
    """OBELICS, in which the first rows have no image."""
    bare: dict[str, Any] = {"texts": ["only a text"], "images": [None]}
    return write_parquet(folder / "a.parquet", [*[bare] * texts, interleaved(0)], row_group=FIRST_ROWS + 1)


def command(files: str, folder: Path) -> int | str | None:
    """Its exit code."""
    with pytest.raises(SystemExit) as done:
        main(["ingest", "obelics", "-i", files, "-o", str(folder / "out"), "--workers", "1"])
    return done.value.code


@pytest.mark.parametrize("texts", [1, FIRST_ROWS - 1])
def test_any_address_in_the_first_rows_needs_a_store(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], texts: int
) -> None:
    files = texts_and_one_document(tmp_path, texts)
    assert command(files, tmp_path) == 2
    assert capsys.readouterr().err == f"error: {files}: obelics holds URLs in place of images: {STORES}\n"
    assert not (tmp_path / "out").exists()


def test_addresses_that_are_met_later_are_told_as_losses(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = texts_and_one_document(tmp_path, FIRST_ROWS)
    assert command(files, tmp_path) == 0
    printed = capsys.readouterr()
    assert printed.out == f"{tmp_path}/out: 21 rows in, 21 out, 0 quarantined, 2 images lost\n"
    assert printed.err.endswith(
        f"warning: 2 images were lost, because the set holds only their URLs: {STORES}; use a new output folder\n"
    )
