"""Counts the scans of a JPEG before anything decodes it.

A decoder passes over the whole picture for each scan, and a scan may be only a few bytes: a progressive JPEG of 400 kB
can keep a decoder busy for hours. cjpeg writes at most 100 scans, and libtiff reads no more of a JPEG in a TIFF.
"""

import re

MAX_SCANS = 100
"""At 64 million pixels, 100 scans take ten seconds. Usual progressive files have ten scans."""

_SCAN, _END = 0xDA, 0xD9
# A marker is 0xFF and a byte that says which. 0xFF00 is a byte of data and 0xFFFF a filler, so neither is a marker;
# 0xFF01 and 0xFFD0 to 0xFFD8 are markers without a length.
_MARKER = re.compile(rb"\xff([^\x00\x01\xd0-\xd8\xff])")


def has_too_many_scans(data: bytes) -> bool:
    """Returns whether a JPEG has more than `MAX_SCANS` scans. It searches most files only once, for two bytes."""
    return data.count(b"\xff\xda") > MAX_SCANS and count_scans(data) > MAX_SCANS


def count_scans(data: bytes) -> int:
    """Counts the scans of the first picture in a JPEG file by its markers, without those of a preview in a segment."""
    scans, at = 0, 0
    while (marker := _MARKER.search(data, at)) is not None and marker[1][0] != _END:
        scans += marker[1][0] == _SCAN
        at = marker.end() + int.from_bytes(data[marker.end() : marker.end() + 2], "big")
    return scans
