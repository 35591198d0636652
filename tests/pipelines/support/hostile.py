"""Hostile images and damaged tars, made at test time."""

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from schemas.tar.header import BLOCK
from tests.conftest import jpeg
from tests.schemas.support.tars import tar_of


@dataclass(frozen=True, slots=True)
class HostileImage:
    """Holds a file of the web, and the reason that it must be left out for; empty where it is an image."""

    data: bytes
    reason: str = ""


def draw_hostile_images() -> list[HostileImage]:
    """Draws files that are no image or half of one, one that is far too large, and images of unusual kinds."""
    image = Image.open(io.BytesIO(jpeg(1)))
    deep = Image.fromarray(np.arange(64 * 48, dtype=np.uint16).reshape(48, 64) * 20)
    rotated = image.getexif()
    rotated[0x0112] = 6
    frames = [image.convert("P"), Image.new("P", image.size)]
    return [
        HostileImage(b"", "not_an_image"),
        HostileImage(b"<!DOCTYPE html>\n<html><body>Page not found</body></html>", "not_an_image"),
        HostileImage(jpeg(2)[: len(jpeg(2)) * 2 // 5], "decode_error"),
        HostileImage(_encode(image, "PNG")[:-40], "decode_error"),
        HostileImage(_encode(image, "TIFF")[:300], "decode_error"),
        HostileImage(_encode(Image.new("1", (10_000, 10_000)), "PNG"), "too_many_pixels"),
        HostileImage(_encode(image.convert("L"), "JPEG")),
        HostileImage(_encode(image.convert("CMYK"), "JPEG")),
        HostileImage(_encode(image, "JPEG", exif=rotated)),
        HostileImage(_encode(image.convert("RGBA"), "PNG")),
        HostileImage(_encode(image, "WEBP")),
        HostileImage(_encode(deep, "PNG")),
        HostileImage(_encode(frames[0], "GIF", save_all=True, append_images=frames[1:])),
    ]


def _encode(image: Image.Image, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def write_compressed_tar(path: Path) -> None:
    """Writes a tar that is sound but for its members, which are compressed texts and no samples."""
    path.write_bytes(tar_of(*((f"compressed/{number:04d}.txt.gz", b"\x1f\x8b") for number in range(1, 4))))


def write_damaged_tars(folder: Path, sound: bytes) -> None:
    """Writes the `sound` shard of eight samples with three members each cut short, and with a damaged header."""
    folder.mkdir()
    starts = [at for at in range(0, len(sound), BLOCK) if sound[at + 257 : at + 262] == b"ustar"]
    fifth = starts[4 * 3]  # the header of its image
    (folder / "cut.tar").write_bytes(sound[: fifth + BLOCK + 100])
    (folder / "bad_header.tar").write_bytes(sound[:fifth] + b"?" * BLOCK + sound[fifth + BLOCK :])
    write_compressed_tar(folder / "compressed.tar")
