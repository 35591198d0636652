"""Real broken files, exact pixels of every rule, and arbitrary bytes."""

import io
import json
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from curation.images.decode import DecodeLimits, decode, decode_size, read_image_size
from schemas.records.quarantine import Reason, Rejected
from tests.conftest import REPOSITORY

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # pytest turns Pillow's back on

LIMITS = DecodeLimits()

REJECTED = {
    Reason.NOT_AN_IMAGE: [
        "mmpretrain__data__dataset__3.jpeg",  # no bytes at all
        "pillow__dummy.container",
        "pillow__negative_size.ppm",  # no PPM begins so
        "pillow__test-ole-file.doc",
        "pillow__test.gpl",
    ],
    Reason.UNSUPPORTED_FORMAT: [
        "pillow__crash-754d9c7ec485ffb76a90eeaab191ef69a2a3a3cd.sgi",
        "pillow__decompression_bomb.ico",
        "pillow__drawing.wmf",
        "pillow__eps__zero_bb.eps",
        "pillow__hopper.psd",
    ],
    Reason.TOO_MANY_PIXELS: [
        "pillow__bmp__b__badwidth.bmp",
        "pillow__bmp__b__reallybig.bmp",
        "pillow__decompression_bomb.gif",
    ],
    Reason.DECODE_ERROR: [
        "mmocr__data__broken.jpg",
        "pillow__apng__syntax_num_frames_zero.png",
        "pillow__bmp__b__shortfile.bmp",
        "pillow__broken.png",
        "pillow__crash-0c7e0e8e11ce787078f00b5b0ca409a167f070e0.tif",
        "pillow__libtiff_segfault.tif",
        "pillow__oom-225817ca0f8c663be7ab4b9e717b02c661e66834.tif",
        "pillow__png_decompression_dos.png",
        "pillow__seek_too_large.tif",
        "pillow__truncated_image.png",
        "pillow__truncated_jpeg.jpg",
        "pillow__ultrahdr.jpg",
        "pillow__unknown_compression_method.png",
        "pillow__zero_height.j2k",
        "pillow__zero_width.gif",
    ],
}
"""Every file of the collection that must be rejected, by its reason."""

REFUSED = {
    "pillow__hopper.ico": Reason.UNSUPPORTED_FORMAT,  # see the module's docstring
    # Corrupt before the end of the first frame. The collection calls them decodable because Pillow raises at the
    # first `load` only, and its figures are of a second one.
    "pillow__apng__chunk_no_fctl.png": Reason.DECODE_ERROR,
    "pillow__broken_data_stream.png": Reason.DECODE_ERROR,
    "pillow__truncated_end_chunk.png": Reason.DECODE_ERROR,
}
"""Files that some decoder may read, but ours refuses by rule."""


def reason(data: bytes, limits: DecodeLimits = LIMITS) -> Reason:
    with pytest.raises(Rejected) as fault:
        decode(data, limits)
    detail = fault.value.detail
    assert detail.isascii()
    assert "\n" not in detail
    assert "0x" not in detail, "an address differs from run to run"
    return fault.value.reason


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def test_hostile_files(data: Path) -> None:
    expected = json.loads((data / "hostile/expected.json").read_text())["files"]
    assert len(expected) == 80
    must_be_rejected = {name: code for code, names in REJECTED.items() for name in names}
    assert len(must_be_rejected) == 28
    for entry in expected:
        name, content = Path(entry["file"]).name, (data / entry["file"]).read_bytes()
        if entry["expected"] == "must_be_rejected":
            assert reason(content) == must_be_rejected[name], name
        elif name in REFUSED:
            assert reason(content) == REFUSED[name], name
        else:
            pillow = entry["pillow_13_0_0"]
            width, height = pillow["size"]
            if pillow.get("exif_orientation", 1) >= 5:
                width, height = height, width
            image = decode(content, LIMITS)
            assert image.shape == (height, width, 3), name
            assert image.dtype == np.uint8, name
            assert image.flags.c_contiguous, name
        check_size(content, LIMITS)


def check_size(data: bytes, limits: DecodeLimits) -> None:
    """That `decode_size` says what `decode` does, whether it is a size or a reason."""
    found: list[tuple[int, ...] | str] = []
    for size in (lambda: decode(data, limits).shape[1::-1], lambda: decode_size(data, limits)):
        try:
            found.append(size())
        except Rejected as fault:
            found.append(str(fault))
    assert found[0] == found[1]


def test_result_is_read_only() -> None:
    image = decode(encoded(Image.new("RGB", (2, 2)), "PNG"), LIMITS)
    with pytest.raises(ValueError, match="read-only"):
        image[0, 0, 0] = 1


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied(orientation: int) -> None:
    upright = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255]], [[9, 9, 9], [80, 80, 80], [200, 200, 200]]], np.uint8)
    stored = {  # what a camera stores, so that the rule brings back `upright`
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: np.rot90(upright, 1),
        7: upright[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(upright, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    for kind in ("PNG", "WEBP", "TIFF"):
        options = {"lossless": True} if kind == "WEBP" else {}
        data = encoded(Image.fromarray(np.ascontiguousarray(stored)), kind, exif=exif, **options)
        assert decode(data, LIMITS).tolist() == upright.tolist(), kind
        assert (read_image_size(data, LIMITS), decode_size(data, LIMITS)) == ((3, 2), (3, 2)), kind
    xmp = f'<x:xmpmeta><rdf:Description tiff:Orientation="{orientation}"/></x:xmpmeta>'.encode()
    data = encoded(Image.fromarray(np.ascontiguousarray(stored)), "TIFF", tiffinfo={700: xmp})
    assert decode(data, LIMITS).tolist() == upright.tolist()
    assert (read_image_size(data, LIMITS), decode_size(data, LIMITS)) == ((3, 2), (3, 2))


def test_bad_exif_costs_nothing() -> None:
    image = Image.new("RGB", (8, 8), (10, 20, 30))
    plain = decode(encoded(image, "JPEG"), LIMITS)
    for exif in (b"Exif\0\0", b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x02"):
        assert decode(encoded(image, "JPEG", exif=exif), LIMITS).tolist() == plain.tolist()


def test_palette_and_alpha_over_white() -> None:
    image = Image.new("P", (4, 1))
    image.putpalette([0, 0, 0, 255, 0, 0, 0, 0, 255, 8, 8, 8])
    image.putdata([0, 1, 2, 3])
    transparent = encoded(image, "PNG", transparency=bytes([255, 128, 0, 255]))
    assert decode(transparent, LIMITS).tolist() == [[[0, 0, 0], [255, 127, 127], [255, 255, 255], [8, 8, 8]]]
    assert decode(encoded(image, "PNG"), LIMITS).tolist() == [[[0, 0, 0], [255, 0, 0], [0, 0, 255], [8, 8, 8]]]
    rgba = Image.new("RGBA", (1, 1), (0, 0, 0, 51))
    assert decode(encoded(rgba, "PNG"), LIMITS).tolist() == [[[204, 204, 204]]]
    grey_alpha = Image.new("LA", (1, 1), (100, 0))
    assert decode(encoded(grey_alpha, "PNG"), LIMITS).tolist() == [[[255, 255, 255]]]


def test_grey_that_is_multiplied_by_its_alpha() -> None:
    """TIFF: grey and alpha, ExtraSamples 1. Opaque, half opaque and clear."""
    tags = {256: (4, 3), 257: (4, 1), 258: (3, 8 << 16 | 8), 259: (3, 1), 262: (3, 1), 273: (4, 8)}
    tags |= {277: (3, 2), 278: (4, 1), 279: (4, 6), 284: (3, 1), 338: (3, 1)}
    entries = b"".join(
        struct.pack("<HHII", tag, kind, 2 if tag == 258 else 1, value) for tag, (kind, value) in tags.items()
    )
    pixels = bytes([100, 255, 50, 128, 0, 0])
    data = b"II*\0" + struct.pack("<I", 14) + pixels + struct.pack("<H", len(tags)) + entries + bytes(4)
    assert decode(data, LIMITS)[0, :, 0].tolist() == [100, 177, 255]
    assert decode_size(data, LIMITS) == read_image_size(data, LIMITS) == (3, 1)


def test_bmp_with_reserved_bytes_that_are_not_zero() -> None:
    plain = encoded(Image.effect_noise((7, 5), 80), "BMP")
    assert decode(plain[:6] + b"\x15\0\x10\0" + plain[10:], LIMITS).tolist() == decode(plain, LIMITS).tolist()
    assert reason(b"BM and what comes after it is no picture") is Reason.NOT_AN_IMAGE


def test_files_of_other_test_suites(data: Path) -> None:
    corpora = data / "corpora"
    sizes = {
        "g4_orientation_6.tif": (590, 88),
        "minisblack-2c-8b-alpha.tiff": (64, 64),
        "subsubifds.tif": (32, 32),
        "pal8os2-hs.bmp": (127, 64),
    }
    for name, size in sizes.items():
        content = (corpora / name).read_bytes()
        assert read_image_size(content, LIMITS) == decode_size(content, LIMITS) == size, name
        assert decode(content, LIMITS).shape == (*size[::-1], 3), name
    for name, fault in {
        "b5-attrib.tga": "unsupported_format: TGA",
        "zune_1a657c5c_palette_without_PLTE.png": (
            "decode_error: PNG: its data makes no sense to the decoder (AssertionError)"
        ),
    }.items():
        with pytest.raises(Rejected) as caught:
            decode((corpora / name).read_bytes(), LIMITS)
        assert str(caught.value) == fault


@pytest.mark.parametrize("mode", ["L", "P", "RGB", "RGBA"])
@pytest.mark.parametrize("rle", [False, True])
def test_tga_is_named(mode: str, rle: bool) -> None:
    with pytest.raises(Rejected) as fault:
        decode(encoded(Image.new(mode, (9, 5)), "TGA", rle=rle), LIMITS)
    assert str(fault.value) == "unsupported_format: TGA"
    with pytest.raises(Rejected, match="unsupported_format: ICO"):
        decode(encoded(Image.new("RGBA", (16, 16)), "ICO"), LIMITS)


def test_cmyk() -> None:
    image = Image.new("CMYK", (8, 8), (255, 0, 0, 0))
    image.paste((0, 0, 0, 255), (0, 0, 8, 4))
    pixels = decode(encoded(image, "TIFF"), LIMITS)
    assert pixels[0, 0].tolist() == [0, 0, 0]
    assert pixels[7, 7].tolist() == [0, 255, 255]
    jpeg = decode(encoded(Image.new("CMYK", (8, 8), (0, 0, 0, 0)), "JPEG"), LIMITS)
    assert jpeg.min() == 255, "Adobe's inverted CMYK is turned back"


def test_sixteen_bit_grey_is_scaled_not_clipped() -> None:
    values = np.array([[0, 128, 129, 257, 25700, 32768, 65535]], np.uint16)
    scaled = [[0, 0, 1, 1, 100, 128, 255]]
    assert decode(encoded(Image.fromarray(values), "PNG"), LIMITS)[..., 0].tolist() == scaled
    assert decode(encoded(Image.fromarray(values), "TIFF"), LIMITS)[..., 1].tolist() == scaled
    pgm = b"P5 7 1 65535\n" + values.astype(">u2").tobytes()
    assert decode(pgm, LIMITS)[..., 2].tolist() == scaled
    assert decode(b"P5 2 1 1023\n" + np.array([0, 1023], ">u2").tobytes(), LIMITS)[..., 0].tolist() == [[0, 255]]
    clear = encoded(Image.fromarray(values), "PNG", transparency=128)
    assert decode(clear, LIMITS)[0, :3, 0].tolist() == [0, 255, 1]


def test_samples_without_an_agreed_white_are_refused() -> None:
    assert reason(encoded(Image.new("F", (2, 2), 0.5), "TIFF")) is Reason.UNSUPPORTED_FORMAT
    assert reason(encoded(Image.new("I", (2, 2), 5), "TIFF")) is Reason.UNSUPPORTED_FORMAT


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF", "AVIF"])
def test_first_frame(kind: str) -> None:
    frames = [Image.new("RGB", (16, 16), colour) for colour in ("white", "black", "red")]
    data = encoded(frames[0], kind, save_all=True, append_images=frames[1:])
    assert decode(data, LIMITS).min() >= 250


def test_pixels_are_counted_before_they_are_decoded() -> None:
    limits = DecodeLimits(max_pixels=100)
    for kind in ("JPEG", "PNG", "GIF", "WEBP", "TIFF", "BMP", "PPM", "AVIF", "JPEG2000"):
        assert reason(encoded(Image.new("RGB", (11, 10)), kind), limits) is Reason.TOO_MANY_PIXELS, kind
        assert decode(encoded(Image.new("RGB", (10, 10)), kind), limits).shape == (10, 10, 3), kind
    header = struct.pack(">IIBBBBB", 20000, 20000, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + b"IHDR" + header + struct.pack(">I", zlib.crc32(b"IHDR" + header))
    assert reason(b"\x89PNG\r\n\x1a\n" + chunk + struct.pack(">I", 0) + b"IDAT") is Reason.TOO_MANY_PIXELS


def test_tiff_with_tiles_larger_than_itself() -> None:
    tags = {256: 16, 257: 16, 258: 8, 259: 5, 262: 1, 277: 1, 322: 60000, 323: 60000, 324: 8, 325: 8}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    data = b"II*\0" + struct.pack("<IQH", 16, 0, len(tags)) + entries + bytes(4)
    with pytest.raises(Rejected) as fault:
        decode(data, LIMITS)
    assert str(fault.value) == "too_many_pixels: tiles of 3600000000 pixels, the limit is 64000000"


@pytest.mark.parametrize(
    ("start", "kind"),
    [
        (b"<svg xmlns='http://www.w3.org/2000/svg'>", "SVG"),
        (b'<?xml version="1.0"?>\n<!-- drawn -->\n<svg>', "SVG"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "HEIC"),
        (b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic", "HEIC"),
        (b"\xff\x0a\xfa", "JPEG XL"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n", "EPS"),
    ],
)
def test_other_formats_are_named(start: bytes, kind: str) -> None:
    with pytest.raises(Rejected) as fault:
        decode(start + bytes(64), LIMITS)
    assert (fault.value.reason, fault.value.detail) == (Reason.UNSUPPORTED_FORMAT, kind)


@pytest.mark.parametrize("junk", [b"", b"\0", b"<!DOCTYPE html><html>", b"%PDF-1.7", b'{"error": 404}', bytes(5000)])
def test_what_is_no_image(junk: bytes) -> None:
    assert reason(junk) is Reason.NOT_AN_IMAGE


STARTS = [b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"BM", b"II*\0", b"MM\0*", b"P5 ", b"RIFF\0\0\0\0WEBP"]


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(STARTS), st.binary(max_size=300))
def test_arbitrary_bytes_raise_nothing_else(start: bytes, rest: bytes) -> None:
    decode_or_reject(start + rest)


SEEDS = {
    kind: encoded(Image.effect_noise((24, 17), 80).convert(mode), kind)
    for kind, mode in {"JPEG": "RGB", "PNG": "P", "GIF": "P", "TIFF": "RGB", "WEBP": "RGBA"}.items()
}


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from(sorted(SEEDS)),
    st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), min_size=1, max_size=8),
    st.one_of(st.none(), st.integers(0, 10**6)),
)
def test_mutated_files_raise_nothing_else(kind: str, changes: list[tuple[int, int]], cut: int | None) -> None:
    data = bytearray(SEEDS[kind])
    for position, value in changes:
        data[position % len(data)] = value
    decode_or_reject(bytes(data[: None if cut is None else cut % len(data)]))


# In a process of its own: in one that has run other tests, the memory that these have freed is there to be used.
LITTLE_MEMORY = """
import io, resource, sys
from pathlib import Path
from PIL import Image
from curation.images.decode import DecodeLimits, decode, decode_size, read_image_size

data, use = sys.stdin.buffer.read(), {"decode": decode, "decode_size": decode_size}[sys.argv[1]]
small = io.BytesIO()
Image.new("L", (8, 8), 5).save(small, "PNG")
use(small.getvalue(), DecodeLimits())  # so that all is loaded
soft, hard = resource.getrlimit(resource.RLIMIT_AS)
used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (8 << 20), hard))
assert read_image_size(data, DecodeLimits()) == (5000, 4000)
try:
    use(data, DecodeLimits())
except MemoryError:
    resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
    print("MemoryError", *decode_size(data, DecodeLimits()))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits a process's memory")
@pytest.mark.parametrize("use", ["decode", "decode_size"])
def test_a_lack_of_memory_is_not_a_fault_of_the_image(use: str) -> None:
    """A set would otherwise depend on the machine: `decode_error` is for images that no machine decodes."""
    data = encoded(Image.new("L", (5000, 4000), 5), "PNG", compress_level=1)
    done = subprocess.run([sys.executable, "-c", LITTLE_MEMORY, use], input=data, capture_output=True, cwd=REPOSITORY)
    assert done.stdout.decode().split() == ["MemoryError", "5000", "4000"], done.stderr.decode()


def decode_or_reject(data: bytes) -> None:
    check_size(data, DecodeLimits(max_pixels=1_000_000))
    try:
        image = decode(data, DecodeLimits(max_pixels=1_000_000))
    except Rejected:
        return
    assert image.ndim == 3
    assert image.shape[2] == 3
