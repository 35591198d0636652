"""Pictures fit their share of a page, and nothing of the original file is in it."""

import base64
import hashlib
import io

import pytest
from PIL import Image

from pipelines.view.thumbnails import PICTURES_SHARE, SIDES, Thumbnails
from tests.conftest import jpeg
from tests.pipelines.support.views import noise


def open_picture(source: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(source.removeprefix("data:image/webp;base64,"))))


def test_a_small_picture_keeps_its_size() -> None:
    data = jpeg(0)
    picture = Thumbnails(1 << 20, 1).make(data, "key", hashlib.sha256(data).hexdigest())
    assert (picture.width, picture.height, picture.fault) == (64, 48, "")
    shown = open_picture(picture.source)
    assert (shown.format, shown.size) == ("WEBP", (64, 48))


def test_a_large_picture_is_made_smaller() -> None:
    file = io.BytesIO()
    Image.new("RGB", (1600, 800), "red").save(file, "PNG")
    picture = Thumbnails(10 << 20, 1).make(file.getvalue(), "key")
    assert (picture.width, picture.height) == (SIDES[0], SIDES[0] // 2)


def test_many_pictures_stay_in_their_bytes() -> None:
    budget = 100 << 10
    thumbnails = Thumbnails(budget, 6)
    pictures = [thumbnails.make(noise(seed, 300, 200), "key") for seed in range(6)]
    shown = [picture for picture in pictures if picture.source]
    assert len(shown) == 6
    assert sum(len(picture.source) for picture in shown) <= budget * PICTURES_SHARE
    assert {picture.width for picture in shown} == {160}


def test_a_page_that_is_full_shows_no_more_pictures() -> None:
    thumbnails = Thumbnails(20 << 10, 2)
    faults = [thumbnails.make(noise(seed, 160, 120), "key").fault for seed in range(4)]
    assert faults[0] == ""
    assert faults[-1] == "left out: the page has reached its size"


@pytest.mark.parametrize(
    ("data", "sha256", "fault"),
    [
        (None, None, "its image was not found"),
        (jpeg(0), "0" * 64, "its image has changed since the set was made"),
        (jpeg(0)[:300], None, "no picture: decode_error: "),
        (b"<svg onload=alert(1)></svg>", None, "no picture: "),
        (b"", None, "no picture: not_an_image: "),
    ],
)
def test_why_there_is_no_picture(data: bytes | None, sha256: str | None, fault: str) -> None:
    picture = Thumbnails(1 << 20, 1).make(data, "key", sha256)
    assert picture.source == ""
    assert picture.fault.startswith(fault)
