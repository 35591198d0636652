"""Detects compressed files by their names or first bytes, so that an error message can say what to do about them."""

from schemas.errors import UsageError

SIGNATURE_BYTES = 16  # bytes from the start of a file that are enough to detect compression

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
_SIGNATURES = {
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


def detect_compression_by_name(path: str) -> str | None:
    """Returns the name of the compression format that a file's extension stands for; None for any other extension."""
    stem, dot, ending = path.rpartition("/")[2].rpartition(".")
    return _BY_ENDING.get(ending.lower()) if stem and dot else None


def detect_compression(start: bytes) -> str | None:
    """Returns the name of the compression format whose magic bytes these are; None for any other bytes."""
    return next((name for magic, name in _SIGNATURES.items() if start.startswith(magic)), None)


def check_uncompressed(path: str, start: bytes = b"") -> None:
    """Raises `UsageError` if an input is compressed, judged by its first bytes (`start`) or else by its name."""
    if name := detect_compression(start) or detect_compression_by_name(path):
        raise UsageError(f"{path} is compressed by {name}, which is not read: decompress it first")
