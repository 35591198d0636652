"""A JPEG of a few kilobytes and thousands of scans is refused before a decoder sees it, wherever images are opened."""

import io
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

from curation.images.decode import DecodeLimits, decode, decode_size, read_image_size
from curation.images.jpeg_scans import MAX_SCANS, count_scans, has_too_many_scans
from schemas.records.quarantine import Reason, Rejected
from tests.curation.images.support.many_scans import many_scans
from tests.support.growth import assert_linear

LIMITS = DecodeLimits()


def encoded(image: Image.Image, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, "JPEG", **options)
    return file.getvalue()


@pytest.mark.parametrize("use", [decode, decode_size, read_image_size])
def test_thousands_of_scans_are_refused_at_once(use: Callable[[bytes, DecodeLimits], object]) -> None:
    """What is said of it shows that nothing has decoded it, which takes a core for minutes: that has another limit."""
    data = many_scans(5000, side=4000)
    assert len(data) < 300_000
    with pytest.raises(Rejected) as fault:
        use(data, LIMITS)
    assert (fault.value.reason, fault.value.detail) == (Reason.DECODE_ERROR, "JPEG: 5000 scans, the limit is 100")


def test_the_limit_itself_is_decoded() -> None:
    assert decode(many_scans(MAX_SCANS, side=16), LIMITS).shape == (16, 16, 3)
    with pytest.raises(Rejected, match="101 scans"):
        decode(many_scans(MAX_SCANS + 1, side=16), LIMITS)


@pytest.mark.parametrize(("options", "scans"), [({}, 1), ({"progressive": True}, 10)])
def test_scans_are_counted(options: dict[str, object], scans: int) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    assert count_scans(encoded(Image.fromarray(noise), **options)) == scans
    restarts = encoded(Image.fromarray(noise), restart_marker_blocks=1, **options)
    assert count_scans(restarts) == scans


def test_what_is_in_segments_and_behind_the_picture_is_no_scan() -> None:
    image = Image.new("RGB", (16, 16), "red")
    preview = encoded(image, comment=b"\xff\xda\0\2" * 5000) + b"\xff\xda" * 5000
    assert (count_scans(preview), has_too_many_scans(preview)) == (1, False)
    assert decode(preview, LIMITS).shape == (16, 16, 3)


@pytest.mark.parametrize("data", [b"", b"\xff", b"\xff\xd8\xff\xda", b"\xff\xda" * 200, b"\xff" * 1000 + b"\0"])
def test_any_bytes_are_counted(data: bytes) -> None:
    assert count_scans(data) <= data.count(b"\xff\xda")


@pytest.mark.parametrize("part", [b"\xff", b"\xff\0", b"\xff\xda\0\0", b"\xff\xda\xff\xff"])
def test_scans_are_counted_in_linear_time(part: bytes) -> None:
    assert_linear(count_scans, lambda count: part * count, 20_000)
