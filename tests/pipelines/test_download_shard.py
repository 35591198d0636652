"""A part that was downloaded is not asked for again, and knows why it lacks an image."""

from dataclasses import asdict, replace
from pathlib import Path

import polars as pl
import pytest

from pipelines.download_addresses import Part
from pipelines.download_losses import Losses
from pipelines.download_shard import Receipt, held_receipt, kind_of
from pipelines.recipe import DownloadOptions
from schemas.manifest import seal
from schemas.quarantine import Rejected
from schemas.storage import Folder


@pytest.mark.parametrize(
    ("status", "message", "kind"),
    [
        ("failed_to_resize", "Image decoding error", "not_an_image"),
        ("failed_to_resize", "(-215:Assertion failed) pixels <= CV_IO_MAX_IMAGE_PIXELS", "too_many_pixels"),
        ("failed_to_download", "HTTP Error 404: Not Found", "http_404"),
        ("failed_to_download", "<urlopen error refused link-local address 169.254.169.254 of a.b>", "refused_address"),
        ("failed_to_download", "<urlopen error deadline>", "deadline"),
        ("failed_to_download", "<urlopen error too large: 9 bytes>", "too_large"),
        ("failed_to_download", "timed out", "timed_out"),
        ("failed_to_download", "<urlopen error unknown url type: ftp>", "not_http"),
        ("failed_to_download", "Use of image disallowed by X-Robots-Tag directive", "forbidden_by_host"),
        ("failed_to_download", "<urlopen error [Errno -2] Name or service not known>", "unknown_host"),
        ("failed_to_download", "<urlopen error [SSL: CERTIFICATE_VERIFY_FAILED] a>", "bad_certificate"),
        ("failed_to_download", "<urlopen error [Errno 111] Connection refused>", "no_answer"),
        ("failed_to_download", "", "no_answer"),
    ],
)
def test_failures_are_counted_by_kind(status: str, message: str, kind: str) -> None:
    assert kind_of(status, message) == kind


def whole_part(output: Folder, options: DownloadOptions) -> tuple[Part, Receipt]:
    """A part that was downloaded before."""
    part = Part(0, 2, 0, "a" * 64)
    output.write("downloads/images/downloaded_00000000.tar", b"tar")
    side = pl.DataFrame(
        {
            "url": ["http://a/1", "http://a/2"],
            "status": ["success", "failed_to_download"],
            "error_message": [None, "HTTP Error 410: Gone"],
        }
    )
    side.write_parquet(output.local_path("downloads/images/downloaded_00000000.parquet"))
    receipt = Receipt(part.name, part.sha256, options.model_dump(mode="json"), 3, 1, {"http_410": 1})
    output.write("downloads/receipts/downloaded_00000000.json", seal(asdict(receipt)))
    return part, receipt


def test_a_whole_part_is_not_asked_for_again(tmp_path: Path) -> None:
    output, options = Folder(str(tmp_path)), DownloadOptions()
    part, receipt = whole_part(output, options)
    assert held_receipt(output, options, part) == receipt
    for change in (
        lambda: output.write("downloads/images/downloaded_00000000.tar", b"ta"),
        lambda: output.remove("downloads/images/downloaded_00000000.parquet"),
        lambda: output.write("downloads/receipts/downloaded_00000000.json", b"{}"),
    ):
        whole_part(output, options)
        change()
        assert held_receipt(output, options, part) is None
    whole_part(output, options)
    assert held_receipt(output, options, replace(part, sha256="b" * 64)) is None
    assert held_receipt(output, DownloadOptions(image_size=256), part) is None


def test_a_lost_image_says_why(tmp_path: Path) -> None:
    output = Folder(str(tmp_path))
    losses = Losses(output, *([each] for each in whole_part(output, DownloadOptions())))
    for address, why in (
        ("http://a/2", "http://a/2: http_410: HTTP Error 410: Gone"),
        ("http://a/1", "http://a/1: downloaded, but none that its shard has whole"),
        ("1.jpg", "1.jpg: no http or https address"),
    ):
        with pytest.raises(Rejected) as lost:
            losses.get(address)
        assert str(lost.value) == f"lost_image: {why}"
