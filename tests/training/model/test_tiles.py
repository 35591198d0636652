"""Tiles against Pillow's own resizing, pixel for pixel where nothing is resized, and against the full decoder."""

import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from curation.images.decode import decode as decode_whole
from schemas.records.quarantine import Reason, Rejected
from tests.conftest import jpeg
from tests.curation.images.support.many_scans import many_scans
from training.model.anyres import compute_valid_cells
from training.model.tiles import DECODE_LIMITS, DecodedImage, cut_into_tiles, decode_image, decode_tiles
from training.model.tiling_options import AnyResolutionOptions

FIXED, ANY = AnyResolutionOptions(), AnyResolutionOptions(enabled=True)


def noise(width: int, height: int) -> Image.Image:
    """Blurred, so that a JPEG of it is no noise of its own."""
    pixels = np.random.default_rng(0).integers(0, 256, (height // 16 + 2, width // 16 + 2, 3), np.uint8)
    return Image.fromarray(pixels).resize((width, height), Image.Resampling.BICUBIC)


def file(image: Image.Image, kind: str = "JPEG", **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **({"quality": 95} | options if kind == "JPEG" else options))
    return stream.getvalue()


def difference(ours: NDArray[np.uint8], theirs: NDArray[np.uint8]) -> NDArray[np.int_]:
    return np.abs(ours.astype(int) - theirs)


def test_fixed_size_is_a_bicubic_squash() -> None:
    image = noise(500, 310)
    tiles, valid, grid = cut_into_tiles(image, FIXED, 384, 14)
    expected = np.asarray(image.resize((384, 384), Image.Resampling.BICUBIC)).transpose(2, 0, 1)
    assert (tiles.shape, tiles.dtype, tiles.flags.c_contiguous) == ((1, 3, 384, 384), np.uint8, True)
    assert difference(tiles[0], expected).max() <= 2
    assert difference(tiles[0], expected).mean() < 0.01
    assert (valid.shape, valid.dtype, valid.all()) == ((1, 729), np.bool_, True)
    assert grid == (0, 0)


def test_real_images_are_as_pillow_has_them(data: Path) -> None:
    """But for rounding; narrow pictures, that Pillow resizes in the other order, differ in a quarter of the values."""
    with tarfile.open(data / "datacomp_small/00000000.tar") as tar:
        files = [tar.extractfile(member).read() for member in tar if member.name.endswith(".jpg")][:20]  # type: ignore[union-attr]
    for image in files:
        tiles, *_ = decode_tiles(image, FIXED, 384, 14)
        expected = Image.open(io.BytesIO(image)).convert("RGB").resize((384, 384), Image.Resampling.BICUBIC)
        off = difference(tiles[0], np.asarray(expected).transpose(2, 0, 1))
        assert off.mean() < 0.25
        assert (off > 1).mean() < 0.01


def test_a_picture_of_the_tiles_size_is_not_touched() -> None:
    image = noise(56, 56)
    tiles, _, _ = cut_into_tiles(image, FIXED, 56, 14)
    assert np.array_equal(tiles[0], np.asarray(image).transpose(2, 0, 1))


def test_tiles_of_the_canvas_row_by_row() -> None:
    """640 x 480 at tiles of 320: 2 x 2 of them, and no pixel resized; 80 black rows above and below."""
    image = noise(640, 480)
    tiles, valid, grid = cut_into_tiles(image, ANY, 320, 20)
    assert (grid, tiles.shape, tiles.dtype) == ((2, 2), (5, 3, 320, 320), np.uint8)
    assert tiles.flags.c_contiguous
    canvas = np.zeros((640, 640, 3), np.uint8)
    canvas[80:560] = np.asarray(image)
    corners = [(0, 0), (0, 320), (320, 0), (320, 320)]
    for tile, (top, left) in zip(tiles[1:], corners, strict=True):
        assert np.array_equal(tile, canvas[top : top + 320, left : left + 320].transpose(2, 0, 1))
    assert np.array_equal(tiles[:1], cut_into_tiles(image, FIXED, 320, 20)[0])
    assert np.array_equal(valid, compute_valid_cells((640, 480), (2, 2), 16))
    assert valid.shape == (5, 256)
    shown = tiles[1:, 0].reshape(4, 16, 20, 16, 20).any((2, 4)).reshape(4, 256)
    assert np.array_equal(valid[1:], shown)  # 80 pixels are 4 cells: here the mask is exact


@pytest.mark.parametrize(("width", "height", "grid"), [(300, 100, (1, 2)), (50, 900, (1, 3)), (2000, 500, (3, 1))])
def test_every_grid(width: int, height: int, grid: tuple[int, int]) -> None:
    tiles, valid, chosen = cut_into_tiles(noise(width, height), ANY, 384, 14)
    assert chosen == grid
    assert len(tiles) == len(valid) == 1 + grid[0] * grid[1]


@pytest.mark.parametrize("size", [(1, 1), (1, 3000), (3000, 1)])
def test_slivers(size: tuple[int, int]) -> None:
    for options in (FIXED, ANY):
        tiles, valid, _ = cut_into_tiles(Image.new("RGB", size, (9, 90, 200)), options, 56, 14)
        assert len(tiles) == len(valid)
        assert tiles[0].reshape(3, -1).T.tolist() == [[9, 90, 200]] * 56 * 56


def test_any_number_of_threads_gives_the_same_bytes() -> None:
    image, before = noise(1111, 777), torch.get_num_threads()
    made = []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            made.append(cut_into_tiles(image, ANY, 384, 14)[0].tobytes())
    finally:
        torch.set_num_threads(before)
    assert made[0] == made[1] == made[2]


@pytest.mark.parametrize(
    ("size", "want", "shape", "extent"),
    [
        ((2400, 1200), 384, (600, 1200, 3), (1200, 600)),  # 1.5 x 384 = 576
        ((2400, 1151), 384, (1151, 2400, 3), (2400, 1151)),  # half is 575.5: too small
        ((2402, 2306), 384, (577, 601, 3), (600.5, 576.5)),
        ((2402, 2303), 384, (1152, 1201, 3), (1201, 1151.5)),
        ((2402, 2303), 10, (288, 301, 3), (300.25, 287.875)),  # an eighth is the least
    ],
)
def test_large_jpegs_are_decoded_smaller(
    size: tuple[int, int], want: int, shape: tuple[int, int, int], extent: tuple[float, float]
) -> None:
    picture = decode_image(file(noise(*size)), want)
    assert (picture.pixels.shape, picture.size, picture.extent) == (shape, size, extent)


@pytest.mark.parametrize("size", [(1537, 1203), (1600, 1200), (3001, 1999)])
def test_decoded_smaller_is_the_same_picture(size: tuple[int, int]) -> None:
    """Within a grey level, at the far border too: a shift by half a pixel would be seen in the slope."""
    across, down = np.meshgrid(np.linspace(0, 255, size[0]), np.linspace(0, 255, size[1]))
    image = file(Image.fromarray(np.stack((across, down, 255 - across), -1).round().astype(np.uint8)), subsampling=0)
    for options in (FIXED, ANY):
        tiles, valid, grid = decode_tiles(image, options, 224, 14)
        whole = decode_whole(image, DECODE_LIMITS)
        expected, expected_valid, expected_grid = cut_into_tiles(DecodedImage(whole, size, size), options, 224, 14)
        assert grid == expected_grid
        assert np.array_equal(valid, expected_valid)
        assert difference(tiles, expected).max() <= 2
        assert difference(tiles, expected)[..., -8:].mean() < 0.5
    assert decode_image(image, 224).pixels.shape != whole.shape


def test_decoded_smaller_real_images_lose_nothing(data: Path) -> None:
    decibels = []
    for path in sorted((data / "photos").glob("*.jp*g")):
        image = path.read_bytes()
        picture = decode_image(image, 224)
        if picture.extent == picture.size:
            continue
        whole = DecodedImage(decode_whole(image, DECODE_LIMITS), picture.size, picture.size)
        off = difference(cut_into_tiles(picture, FIXED, 224, 14)[0], cut_into_tiles(whole, FIXED, 224, 14)[0])
        decibels.append(10 * np.log10(255**2 / (off**2).mean()))
    assert len(decibels) >= 10
    assert np.median(decibels) > 48
    assert min(decibels) > 33


def test_a_turned_jpeg_is_upright_and_whole() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    image = file(noise(1600, 1200), exif=exif)
    picture = decode_image(image, 100)
    assert (picture.pixels.shape, picture.size) == ((1600, 1200, 3), (1200, 1600))
    assert np.array_equal(picture.pixels, decode_whole(image, DECODE_LIMITS))
    assert decode_tiles(image, ANY, 384, 14)[2] == (2, 2)


def test_other_modes_go_by_the_rules_of_decode() -> None:
    large = noise(1600, 1200)
    clear = Image.new("RGBA", (40, 30), (0, 0, 0, 0))
    deep = Image.fromarray(np.full((30, 40), 65535, np.uint16))
    assert decode_image(file(large.convert("CMYK")), 100).pixels.shape == (1200, 1600, 3)
    assert decode_image(file(large, "PNG"), 100).pixels.shape == (1200, 1600, 3)
    grey = decode_image(file(large.convert("L")), 100)
    assert grey.pixels.shape == (150, 200, 3)
    assert np.array_equal(grey.pixels[..., 0], grey.pixels[..., 2])
    assert (decode_tiles(file(clear, "PNG"), FIXED, 56, 14)[0] == 255).all()
    assert (decode_tiles(file(deep, "PNG"), FIXED, 56, 14)[0] == 255).all()
    assert decode_tiles(file(large.convert("P"), "GIF"), FIXED, 56, 14)[0].shape == (1, 3, 56, 56)


def test_bad_images_are_rejected_as_ever() -> None:
    large = file(noise(1600, 1200))
    for image, reason in (
        (large[: len(large) // 2], Reason.DECODE_ERROR),
        (large[:300], Reason.DECODE_ERROR),
        (b"", Reason.NOT_AN_IMAGE),
        (b"\xff\xd8\xff", Reason.DECODE_ERROR),
        (file(Image.new("L", (9000, 8000))), Reason.TOO_MANY_PIXELS),
    ):
        for options in (FIXED, ANY):
            with pytest.raises(Rejected) as raised:
                decode_tiles(image, options, 56, 14)
            assert raised.value.reason == reason


@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow's, of odd tags
def test_a_jpeg_of_thousands_of_scans_is_refused_before_it_is_decoded() -> None:
    with pytest.raises(Rejected) as fault:
        decode_image(many_scans(5000, side=4000), 384)
    assert (fault.value.reason, fault.value.detail) == (Reason.DECODE_ERROR, "JPEG: 5000 scans, the limit is 100")


def test_hostile_files_end_as_with_the_full_decoder(data: Path) -> None:
    for entry in json.loads((data / "hostile/expected.json").read_text())["files"]:
        content = (data / entry["file"]).read_bytes()
        outcomes = []
        for reader in (lambda image: decode_whole(image, DECODE_LIMITS), lambda image: decode_image(image, 32).pixels):
            try:
                outcomes.append(str(reader(content).ndim))
            except Rejected as error:
                outcomes.append(str(error))
        assert outcomes[0] == outcomes[1], entry["file"]


def test_the_same_file_gives_the_same_tiles() -> None:
    image = jpeg(7, 640, 480)
    first, second = decode_tiles(image, ANY, 384, 14), decode_tiles(image, ANY, 384, 14)
    assert all(np.array_equal(one, other) for one, other in zip(first, second, strict=True))


def test_nothing_is_warned_of(recwarn: pytest.WarningsRecorder) -> None:
    decode_tiles(file(noise(1600, 1200)), ANY, 384, 14)
    cut_into_tiles(noise(64, 64), FIXED, 56, 14)
    assert not list(recwarn)
