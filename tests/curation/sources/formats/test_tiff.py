"""Frames of many kinds come out with the pixels they have; what is broken costs no neighbour."""

import io
import struct

import numpy as np
import pytest
from PIL import Image

from curation.images.decode import DecodeLimits, decode
from curation.sources.formats.tiff import MAX_FRAMES, extract_frames, find_frame_links
from schemas.records.quarantine import Reason, Rejected

LIMITS = DecodeLimits()


def picture(seed: int, mode: str = "RGB", width: int = 90, height: int = 70) -> Image.Image:
    """Smooth enough to be a photograph, with another value in every channel."""
    grid = np.random.default_rng(seed).integers(0, 256, (5, 6, 4), dtype=np.uint8)
    image = Image.fromarray(grid, "RGBA").resize((width, height), Image.Resampling.BICUBIC)
    return image if mode == "RGBA" else image.convert("RGB").convert(mode)


def tiff(*images: Image.Image, **options: object) -> bytes:
    file = io.BytesIO()
    images[0].save(file, "TIFF", save_all=True, append_images=images[1:], **options)  # type: ignore[arg-type]
    return file.getvalue()


def opened(data: bytes, number: int) -> Image.Image:
    """A frame as Pillow has it."""
    image = Image.open(io.BytesIO(data))
    image.seek(number)
    return image.copy()


def every(data: bytes, limits: DecodeLimits) -> list[bytes | Rejected]:
    return extract_frames(data, find_frame_links(data), limits)


def files(data: bytes) -> list[bytes]:
    found = every(data, LIMITS)
    return [frame for frame in found if isinstance(frame, bytes)]


def kinds(found: list[bytes]) -> list[str | None]:
    return [Image.open(io.BytesIO(frame)).format for frame in found]


@pytest.mark.parametrize("compression", ["raw", "tiff_lzw", "tiff_adobe_deflate"])
@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA"])
def test_lossless_frames_become_pngs(mode: str, compression: str) -> None:
    images = [picture(seed, mode) for seed in (1, 2, 3)]
    found = files(tiff(*images, compression=compression))
    assert kinds(found) == ["PNG"] * 3
    for image, frame in zip(images, found, strict=True):
        own = Image.open(io.BytesIO(frame))
        assert own.mode == mode
        assert np.array_equal(np.asarray(own.convert("RGBA")), np.asarray(image.convert("RGBA")))


@pytest.mark.parametrize("size", [(90, 70), (517, 333), (16, 16), (8, 300), (1, 1)])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_jpeg_frames_stay_jpegs_of_the_same_pixels(mode: str, size: tuple[int, int]) -> None:
    data = tiff(*(picture(seed, mode, *size) for seed in (1, 2)), compression="jpeg", quality=85)
    found = files(data)
    assert kinds(found) == ["JPEG"] * 2
    for number, frame in enumerate(found):
        assert np.array_equal(decode(frame, LIMITS), np.asarray(opened(data, number).convert("RGB")))


def test_a_frame_of_many_strips_is_joined_by_restarts() -> None:
    data = tiff(picture(1, "RGB", 640, 800), compression="jpeg", strip_size=640 * 3 * 8)
    strips = len(Image.open(io.BytesIO(data)).tag_v2[273])  # type: ignore[attr-defined]
    (frame,) = files(data)
    assert strips == 100
    assert sum(frame.count(bytes((0xFF, marker))) for marker in range(0xD0, 0xD8)) == strips - 1
    assert np.array_equal(decode(frame, LIMITS), np.asarray(opened(data, 0)))


def test_strips_with_colour_differences_are_joined() -> None:
    data = tiff(picture(1, "YCbCr", 600, 500), compression="jpeg")
    assert Image.open(io.BytesIO(data)).tag_v2[262] == 6  # type: ignore[attr-defined]
    (frame,) = files(data)
    assert kinds([frame]) == ["JPEG"]
    assert np.array_equal(decode(frame, LIMITS), decode(data, LIMITS))


def strips_of_their_own(subsampling: str, rows: int = 16, width: int = 64, height: int = 72) -> bytes:
    """A TIFF of strips that are whole JPEG files."""
    strips = []
    for top in range(0, height, rows):
        file = io.BytesIO()
        strip = picture(5, "RGB", width, height).crop((0, top, width, min(top + rows, height)))
        strip.save(file, "JPEG", quality=60, subsampling=subsampling)
        strips.append(file.getvalue())
    down = 2 if subsampling == "4:2:0" else 1
    body = b"".join(strips)
    places = [8 + sum(map(len, strips[:number])) for number in range(len(strips))]
    lists = b"".join(struct.pack("<I", value) for value in (*places, *map(len, strips)))
    bits = struct.pack("<HHH", 8, 8, 8)
    here = 8 + len(body)
    tags = [
        (256, 4, 1, width),
        (257, 4, 1, height),
        (258, 3, 3, here + len(lists)),
        (259, 3, 1, 7),
        (262, 3, 1, 6),
        (273, 4, len(strips), here),
        (277, 3, 1, 3),
        (278, 4, 1, rows),
        (279, 4, len(strips), here + 4 * len(strips)),
        (530, 3, 2, down | down << 16),
    ]
    entries = b"".join(struct.pack("<HHII", *tag) for tag in tags)
    link = struct.pack("<I", here + len(lists) + len(bits))
    return b"II*\0" + link + body + lists + bits + struct.pack("<H", len(tags)) + entries + bytes(4)


def test_strips_of_whole_jpegs_are_joined() -> None:
    data = strips_of_their_own("4:4:4")
    (frame,) = files(data)
    assert kinds([frame]) == ["JPEG"]
    assert np.array_equal(decode(frame, LIMITS), decode(data, LIMITS))


def test_what_would_look_different_joined_becomes_a_png() -> None:
    """Colours at half the height are smoothed across the lines between strips, if the decoder sees across them."""
    data = strips_of_their_own("4:2:0")
    (frame,) = files(data)
    assert kinds([frame]) == ["PNG"]
    assert np.array_equal(decode(frame, LIMITS), decode(data, LIMITS))


def test_kinds_may_be_mixed() -> None:
    data = tiff(picture(1, "RGBA"), picture(2, "L"), picture(3, "CMYK"), compression="tiff_lzw")
    found = files(data)
    assert kinds(found) == ["PNG"] * 3
    assert [Image.open(io.BytesIO(frame)).mode for frame in found] == ["RGBA", "L", "RGB"]
    for number, frame in enumerate(found[1:], 1):
        assert np.array_equal(decode(frame, LIMITS), np.asarray(opened(data, number).convert("RGB")))


def test_a_broken_frame_costs_no_other() -> None:
    data = bytearray(tiff(*(picture(seed) for seed in (1, 2, 3)), compression="tiff_lzw"))
    image = Image.open(io.BytesIO(data))
    image.seek(1)
    offset, size = image.tag_v2[273][0], image.tag_v2[279][0]  # type: ignore[attr-defined]
    data[offset : offset + size] = b"\xff" * size
    first, second, third = every(bytes(data), LIMITS)
    assert isinstance(second, Rejected)
    assert second.reason is Reason.DECODE_ERROR
    for frame, seed in ((first, 1), (third, 3)):
        assert isinstance(frame, bytes)
        assert np.array_equal(decode(frame, LIMITS), np.asarray(picture(seed)))


def test_a_frame_over_the_limit_is_told() -> None:
    data = tiff(picture(1), picture(2, width=300), compression="raw")
    first, second = every(data, DecodeLimits(max_pixels=90 * 70))
    assert isinstance(first, bytes)
    assert second == Rejected(Reason.TOO_MANY_PIXELS, "300 x 70 pixels, the limit is 6300")


def test_frames_have_a_limit_together() -> None:
    """Eight times that of one; a frame that is over its own doesn't count. What they share makes the file no larger."""
    pictures = [picture(1), picture(2, width=300), *(picture(seed) for seed in range(3, 11)), picture(11, width=1)]
    found = every(tiff(*pictures, compression="raw"), DecodeLimits(max_pixels=90 * 70))
    told = "too_many_pixels: the frames up to it have more than 50400 pixels together"
    lost = {number: str(frame) for number, frame in enumerate(found) if isinstance(frame, Rejected)}
    assert lost == {1: "too_many_pixels: 300 x 70 pixels, the limit is 6300", 9: told, 10: told}


def test_only_the_frames_asked_for_are_read() -> None:
    data = tiff(*(picture(seed) for seed in (1, 2, 3)), compression="raw")
    found = extract_frames(
        data, [find_frame_links(data)[number] for number in (2, 0)], DecodeLimits(max_pixels=90 * 70)
    )
    assert [np.asarray(Image.open(io.BytesIO(frame))).tobytes() for frame in found if isinstance(frame, bytes)] == [
        np.asarray(picture(seed)).tobytes() for seed in (3, 1)
    ]


def test_a_chain_that_bites_its_tail_ends() -> None:
    data = bytearray(tiff(picture(1), compression="raw"))
    start = struct.unpack_from("<I", data, 4)[0]
    entries = struct.unpack_from("<H", data, start)[0]
    struct.pack_into("<I", data, start + 2 + 12 * entries, start)
    assert len(every(bytes(data), LIMITS)) == 1


def test_a_chain_without_end_is_refused() -> None:
    links = [8 + 6 * number for number in range(MAX_FRAMES + 2)]
    data = b"II*\0" + struct.pack("<I", 8) + b"".join(struct.pack("<HI", 0, link + 6) for link in links)
    with pytest.raises(Rejected, match="a TIFF of more than 1000 frames"):
        every(data, LIMITS)


@pytest.mark.parametrize("data", [b"", b"\xff\xd8\xff", b"II*", b"GIF89a"])
def test_what_is_no_tiff_is_refused(data: bytes) -> None:
    with pytest.raises(Rejected) as error:
        every(data, LIMITS)
    assert error.value.reason is Reason.NOT_AN_IMAGE


@pytest.mark.parametrize("length", [4, 7, 8, 9, 60, 200])
def test_a_cut_tiff_is_told(length: int) -> None:
    found = every(tiff(picture(1), compression="raw")[:length], LIMITS)
    assert [type(frame) for frame in found] == [Rejected]


def test_big_tiff() -> None:
    found = files(tiff(picture(1), picture(2), compression="raw", big_tiff=True))
    assert [np.asarray(Image.open(io.BytesIO(frame))).tobytes() for frame in found] == [
        np.asarray(picture(seed)).tobytes() for seed in (1, 2)
    ]


@pytest.mark.parametrize("where", [1 << 40, 1 << 63, (1 << 64) - 1])
def test_a_link_out_of_the_file_is_told(where: int) -> None:
    found = every(b"II+\0" + struct.pack("<HHQ", 8, 0, where), LIMITS)
    assert [type(frame) for frame in found] == [Rejected]


def test_big_endian() -> None:
    tags = [(256, 2), (257, 1), (258, 8), (259, 1), (262, 1), (273, 8), (277, 1), (278, 1), (279, 2)]
    first, second = (
        struct.pack(">H", len(tags))
        + b"".join(struct.pack(">HHII", tag, 4, 1, place if tag == 273 else value) for tag, value in tags)
        + struct.pack(">I", after)
        for place, after in ((8, 12 + 6 + 12 * len(tags)), (10, 0))
    )
    found = files(b"MM\0*" + struct.pack(">I", 12) + bytes((10, 20, 30, 40)) + first + second)
    assert [np.asarray(Image.open(io.BytesIO(frame))).tolist() for frame in found] == [[[10, 20]], [[30, 40]]]
