"""Counts the scans of a JPEG before anything decodes it.

A decoder goes over the whole picture for each scan, and a scan may be a few bytes: 400 kB of a progressive JPEG can
hold it for hours. cjpeg writes 100 scans at most, and libtiff reads no more of a JPEG in a TIFF.
"""

import re

MAX_SCANS = 100
"""At 64 million pixels these take ten seconds. Usual progressive files have ten."""

_SCAN, _END = 0xDA, 0xD9
# A marker: 0xFF, and a byte that says which. None: 0xFF00 is a byte of data, 0xFFFF a filler, and these have no length.
_MARKER = re.compile(rb"\xff([^\x00\x01\xd0-\xd8\xff])")


def has_too_many_scans(data: bytes) -> bool:
    """Says whether a JPEG has more than `MAX_SCANS` scans. Searches most files once, for two bytes."""
    return data.count(b"\xff\xda") > MAX_SCANS and count_scans(data) > MAX_SCANS


def count_scans(data: bytes) -> int:
    """Counts the scans of the first picture in a JPEG file, by its markers: a preview in a segment is none of them."""
    scans, at = 0, 0
    while (marker := _MARKER.search(data, at)) is not None and marker[1][0] != _END:
        scans += marker[1][0] == _SCAN
        at = marker.end() + int.from_bytes(data[marker.end() : marker.end() + 2], "big")
    return scans
