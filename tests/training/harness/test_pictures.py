"""What a task of lmms-eval shows becomes a question, with the same pixels."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from curation.images.decode import DecodeLimits, decode
from schemas.errors import UsageError
from tests.conftest import jpeg
from training.harness.pictures import encode_image, make_question


@pytest.mark.parametrize("mode", ["RGB", "L", "1", "P", "RGBA", "CMYK", "YCbCr"])
def test_pixels_stay(mode: str) -> None:
    """As our decoder reads a PNG of that mode; of modes that no PNG has, as Pillow converts them."""
    image = Image.open(io.BytesIO(jpeg(1))).convert(mode)
    file = io.BytesIO()
    (image.convert("RGB") if mode in ("CMYK", "YCbCr") else image).save(file, "PNG")
    assert np.array_equal(decode(encode_image(image), DecodeLimits()), decode(file.getvalue(), DecodeLimits()))


@pytest.mark.parametrize("orientation", [3, 6, 8])
def test_pictures_are_upright(orientation: int) -> None:
    """As our reader turns the file; a PNG without the orientation would stay on its side."""
    exif, file = Image.Exif(), io.BytesIO()
    exif[0x0112] = orientation
    Image.open(io.BytesIO(jpeg(1))).resize((48, 32)).save(file, "PNG", exif=exif)
    with Image.open(file) as image:
        assert np.array_equal(decode(encode_image(image), DecodeLimits()), decode(file.getvalue(), DecodeLimits()))


def test_a_file_is_passed_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "1.jpg").write_bytes(jpeg(1))
    assert encode_image(str(tmp_path / "1.jpg")) == jpeg(1)


def test_places_of_images() -> None:
    images = [Image.new("RGB", (8, 8), (number, 0, 0)) for number in range(2)]
    encoded = tuple(map(encode_image, images))
    assert make_question("1", "A", None).images == ()
    one, two = make_question("1", "<image> and <image>?", images), make_question("2", "<image>?", images)
    assert (one.id, one.text, one.images, one.answers) == ("1", "<image> and <image>?", encoded, ())
    assert (two.text, two.images) == ("?", encoded)


@pytest.mark.parametrize("visual", ["no/such/file.mp4", {"array": [0.0], "sampling_rate": 16000}])
def test_no_videos_and_sounds(visual: object) -> None:
    with pytest.raises(UsageError, match=r"^lmms-eval: the task shows a (str|dict); shardloom takes images and texts"):
        make_question("1", "What?", [visual])
