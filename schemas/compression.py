"""Compressed files, told by their names or first bytes, so that a message can say what to do about them."""

from schemas.errors import UsageError

START = 16  # bytes of a file, by which a compressed one is told

_ENDINGS = {
    ("gz", "tgz", "taz"): "gzip",
    ("bz2", "tbz", "tbz2", "tb2"): "bzip2",
    ("xz", "txz", "lzma", "tlz"): "xz",
    ("zst", "zstd", "tzst"): "zstd",
    ("lz4",): "lz4",
    ("lzo", "tzo"): "lzop",
    ("br",): "brotli",
    ("sz", "snappy"): "snappy",
    ("z",): "compress",
}
_BY_ENDING = {ending: name for endings, name in _ENDINGS.items() for ending in endings}
_STARTS = {
    b"\x1f\x8b": "gzip",
    b"BZh": "bzip2",
    b"\xfd7zXZ\0": "xz",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"\x04\x22\x4d\x18": "lz4",
    b"\x89LZO\0": "lzop",
    b"\x1f\x9d": "compress",
    b"PK\x03\x04": "zip",
    b"7z\xbc\xaf\x27\x1c": "7-Zip",
    b"Rar!\x1a\x07": "RAR",
}


def compression_by_name(path: str) -> str | None:
    """Returns what has compressed a file that is called so; None where its name tells of nothing."""
    stem, dot, ending = path.rpartition("/")[2].rpartition(".")
    return _BY_ENDING.get(ending.lower()) if stem and dot else None


def compression_of(start: bytes) -> str | None:
    """Returns what has compressed a file that begins with these bytes; None for any other."""
    return next((name for magic, name in _STARTS.items() if start.startswith(magic)), None)


def check_uncompressed(path: str, start: bytes = b"") -> None:
    """Raises `UsageError` for an input that is compressed, by its name or by the bytes that it begins with."""
    if name := compression_of(start) or compression_by_name(path):
        raise UsageError(f"{path} is compressed by {name}, which is not read: decompress it first")
