"""Samples are counted as the reader finds them, and what is between the headers of a plain tar is not read."""

import io
import tarfile
from collections.abc import Callable

import pytest

from schemas.tar.count import count_samples
from schemas.tar.header import BLOCK
from schemas.tar.reader import TarReader
from schemas.tar.writer import TarWriter


class CountedFile(io.BytesIO):
    """Counts the bytes that are read."""

    read_bytes = 0

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(size)
        self.read_bytes += len(data)
        return data


def pack(*names: str, size: int = 5000) -> bytes:
    """A tar of members with these names."""
    file = io.BytesIO()
    writer = TarWriter(file)
    for name in names:
        writer.add(name, b"x" * size)
    writer.close()
    return file.getvalue()


def pack_by_python(*names: str) -> bytes:
    """The same as Python packs it, with an extended header for a long name."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name in names:
            info = tarfile.TarInfo(name)
            info.size = 3
            tar.addfile(info, io.BytesIO(b"abc"))
    return file.getvalue()


PLAIN = pack("a.jpg", "a.txt", "b.jpg", "b.txt", "c")

TARS: dict[str, tuple[Callable[[], bytes], int]] = {
    "plain": (lambda: PLAIN, 3),
    "empty": (lambda: pack(), 0),
    "hidden files": (lambda: pack("a.jpg", "._a.jpg", "a.txt", ".DS_Store", "__MACOSX/a.jpg", "b.jpg"), 2),
    "a key twice": (lambda: pack("a.jpg", "b.jpg", "a.jpg", "a.jpg"), 4),
    "folders": (lambda: pack("x/a.jpg", "x/a.txt", "y/a.jpg"), 2),
    "a long name": (lambda: pack_by_python("a.jpg", "b" * 200 + ".jpg", "c.jpg"), 3),
    "cut": (lambda: PLAIN[: 7 * BLOCK], 1),
    "cut at a member's end": (lambda: PLAIN[: PLAIN.rindex(b"x") // BLOCK * BLOCK + BLOCK], 3),
    "half an end marker": (lambda: PLAIN[: PLAIN.rindex(b"x") // BLOCK * BLOCK + 2 * BLOCK], 3),
    "a header damaged": (lambda: PLAIN.replace(b"b.jpg", b"\xff.jpg", 1), 3),
    "two tars": (lambda: PLAIN + PLAIN, 6),
    "no tar": (lambda: b"no tar at all" * 100, 0),
    "nothing": (lambda: b"", 0),
}


@pytest.mark.parametrize("name", TARS)
def test_count(name: str) -> None:
    make, _ = TARS[name]
    expected = sum(1 for _ in TarReader(io.BytesIO(make()), hashing=False))
    assert count_samples(io.BytesIO(make())) == expected


@pytest.mark.parametrize("name", ["plain", "empty", "hidden files", "a key twice", "folders", "a long name", "no tar"])
def test_count_in_figures(name: str) -> None:
    make, expected = TARS[name]
    assert count_samples(io.BytesIO(make())) == expected


def test_only_headers_are_read() -> None:
    data = pack(*(f"{number}.jpg" for number in range(50)), size=100_000)
    file = CountedFile(data)
    assert count_samples(file) == 50
    assert file.read_bytes <= 50 * BLOCK + 21 * BLOCK
