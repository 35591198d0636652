"""Of an img2dataset that hangs and is killed, the whole images are kept."""

import os
from pathlib import Path

import polars as pl
import pytest

from pipelines.img2dataset.process import _salvage
from schemas.tar.reader import TarReader
from tests.conftest import jpeg, write_shard


@pytest.mark.parametrize("cut", [None, 5000, 0])
def test_of_a_killed_download_the_whole_images_are_kept(tmp_path: Path, cut: int | None) -> None:
    (tmp_path / "images").mkdir()
    write_shard(tmp_path / "images" / "00000000.tar", [jpeg(number) for number in range(3)])
    urls = [f"https://example.org/{number:012d}.jpg" for number in range(4)]
    pl.DataFrame({"url": urls}).write_parquet(tmp_path / "urls.parquet")
    if cut is not None:
        os.truncate(tmp_path / "images" / "00000000.tar", cut)
    _salvage(tmp_path)
    with (tmp_path / "images" / "00000000.tar").open("rb") as file:
        reader = TarReader(file)
        samples = list(reader)
    kept = {None: 3, 5000: 1, 0: 0}[cut]
    assert (reader.damage, [sample.members["jpg"].data for sample in samples]) == ([], [jpeg(n) for n in range(kept)])
    side = pl.read_parquet(tmp_path / "images" / "00000000.parquet")
    assert side["url"].to_list() == urls
    assert side["status"].to_list() == ["success"] * kept + ["failed_to_download"] * (4 - kept)
    assert side["error_message"].to_list() == [None] * kept + ["deadline"] * (4 - kept)
