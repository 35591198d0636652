"""A part that was downloaded is not asked for again, and knows why it lacks an image."""

from dataclasses import asdict, replace
from pathlib import Path

import polars as pl
import pytest

from pipelines.img2dataset import process as img2dataset
from pipelines.ingest.download.failed_downloads import FailedDownloads
from pipelines.ingest.download.parts import Receipt, download_part, find_valid_receipt
from pipelines.ingest.download.urls import UrlPart
from pipelines.recipes.download import DownloadOptions
from schemas.errors import ShardloomError
from schemas.output_set.manifest import seal
from schemas.records.quarantine import Rejected
from schemas.storage.folder import Folder


def whole_part(output: Folder, options: DownloadOptions) -> tuple[UrlPart, Receipt]:
    """A part that was downloaded before."""
    part = UrlPart(0, 2, 0, "a" * 64)
    output.write("downloads/images/downloaded_00000000.tar", b"tar")
    side = pl.DataFrame(
        {
            "url": ["http://a/1", "http://a/2"],
            "status": ["success", "failed_to_download"],
            "error_message": [None, "HTTP Error 410: Gone"],
        }
    )
    side.write_parquet(output.get_local_path("downloads/images/downloaded_00000000.parquet"))
    receipt = Receipt(part.name, part.sha256, options.model_dump(mode="json"), 3, 1, {"http_410": 1})
    output.write("downloads/receipts/downloaded_00000000.json", seal(asdict(receipt)))
    return part, receipt


def test_a_whole_part_is_not_asked_for_again(tmp_path: Path) -> None:
    output, options = Folder(str(tmp_path)), DownloadOptions()
    part, receipt = whole_part(output, options)
    assert find_valid_receipt(output, options, part) == receipt
    for change in (
        lambda: output.write("downloads/images/downloaded_00000000.tar", b"ta"),
        lambda: output.remove("downloads/images/downloaded_00000000.parquet"),
        lambda: output.write("downloads/receipts/downloaded_00000000.json", b"{}"),
    ):
        whole_part(output, options)
        change()
        assert find_valid_receipt(output, options, part) is None
    whole_part(output, options)
    assert find_valid_receipt(output, options, replace(part, sha256="b" * 64)) is None
    assert find_valid_receipt(output, DownloadOptions(image_size=256), part) is None


def test_without_a_network_no_image_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody(folder: Path, urls: int, *_: object) -> dict[str, Path]:
        made = {ending: folder / f"made{ending}" for ending in (".tar", ".parquet")}
        made[".tar"].touch()
        error = "<urlopen error [Errno -3] Temporary failure in name resolution>"
        side = {"url": ["http://a/1"] * urls, "status": ["failed_to_download"] * urls, "error_message": [error] * urls}
        pl.DataFrame(side).write_parquet(made[".parquet"])
        return made

    monkeypatch.setattr(img2dataset, "download_images", nobody)
    output, options = Folder(str(tmp_path)), DownloadOptions()
    output.write("downloads/urls/downloaded_00000000.parquet", b"")
    with pytest.raises(ShardloomError) as lost:
        download_part(output, options, 1, UrlPart(0, 100, 0, "a" * 64))
    assert str(lost.value).startswith(
        f"{tmp_path}/downloads/urls/downloaded_00000000.parquet: none of 100 URLs got a response (unknown_host): "
    )
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["downloaded_00000000.parquet"]
    assert download_part(output, options, 1, UrlPart(0, 99, 0, "a" * 64)).failures == {"unknown_host": 99}


def test_a_lost_image_says_why(tmp_path: Path) -> None:
    output = Folder(str(tmp_path))
    losses = FailedDownloads(output, *([each] for each in whole_part(output, DownloadOptions())))
    for address, why in (
        ("http://a/2", "http://a/2: http_410: HTTP Error 410: Gone"),
        ("http://a/1", "http://a/1: downloaded, but none that its shard has whole"),
        ("1.jpg", "1.jpg: no http or https address"),
    ):
        with pytest.raises(Rejected) as lost:
            losses.get(address)
        assert str(lost.value) == f"lost_image: {why}"
