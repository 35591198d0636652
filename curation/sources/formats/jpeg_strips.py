"""Joins the strips of a JPEG-in-TIFF picture into one JPEG file, without decoding it.

Such a picture consists of strips, each a JPEG of its own without the tables, which the TIFF stores once. A strip resets
the DC prediction, just as a restart interval does. So the strips' codes, with a restart marker between two strips, are
the codes of the whole picture. Re-encoding would lose quality as JPEG, and take several times the bytes as PNG.

The caller must check that the file shows the same pixels: a decoder that smooths subsampled colours now also smooths
them across the borders of strips.
"""

import re
import struct
from collections.abc import Sequence

_START, _END = b"\xff\xd8", b"\xff\xd9"
_DRI, _SOS, _APP14 = 0xDD, 0xDA, 0xEE
_FRAMES = (0xC0, 0xC1)  # sequential, Huffman-coded; others have several scans, or codes that continue across restarts
_MARKER = re.compile(rb"\xff[^\x00]", re.DOTALL)

RGB, YCBCR = 2, 6  # TIFF's PhotometricInterpretation

MarkerSegment = tuple[int, bytes]


def join_strips(tables: bytes, strips: Sequence[bytes], height: int, photometric: int) -> bytes | None:
    """Returns the strips as one JPEG `height` pixels high; None if they are of a kind that cannot be joined."""
    shared = _split_segments(tables) if tables else ([], b"")
    parts = [_split_segments(strip) for strip in strips]
    if shared is None or not parts or any(part is None for part in parts):
        return None
    heads, scans = zip(*(part for part in parts if part is not None), strict=True)
    frame = next((content for marker, content in heads[0] if marker in _FRAMES), None)
    if frame is None or len(frame) < 6 or any(_drop_height(head) != _drop_height(heads[0]) for head in heads):
        return None
    interval = _count_mcus(frame)
    if len(strips) > 1 and (interval is None or any(marker == _DRI for marker, _ in heads[0] + shared[0])):
        return None
    segments = [*shared[0], *heads[0]]
    if frame[5] == 3 and not any(marker == _APP14 for marker, _ in segments):  # without it, decoders guess the colours
        transform = {RGB: b"\0", YCBCR: b"\1"}.get(photometric, b"\0")
        segments.insert(0, (_APP14, b"Adobe\0\x64\0\0\0\0" + transform))
    if len(strips) > 1 and interval is not None:
        segments.insert(len(segments) - 1, (_DRI, struct.pack(">H", interval)))
    out = [_START]
    for marker, content in segments:
        if marker in _FRAMES:
            content = content[:1] + struct.pack(">H", height) + content[3:]
        out += [bytes((0xFF, marker)), struct.pack(">H", len(content) + 2), content]
    for number, scan in enumerate(scans):
        out += [bytes((0xFF, 0xD0 + (number - 1) % 8)) if number else b"", scan]
    return b"".join([*out, _END])


def _split_segments(stream: bytes) -> tuple[list[MarkerSegment], bytes] | None:
    """Returns a JPEG's segments up to the scan header, and the codes of its one scan; None if it is malformed."""
    if not stream.startswith(_START):
        return None
    segments: list[MarkerSegment] = []
    at = 2
    while stream[at : at + 1] == b"\xff" and stream[at : at + 2] != _END:
        if len(stream) < at + 4:
            return None
        marker, length = stream[at + 1], int.from_bytes(stream[at + 2 : at + 4], "big")
        segments.append((marker, stream[at + 4 : at + 2 + length]))
        at += 2 + length
        if marker == _SOS:
            end = stream.rfind(_END)
            codes = stream[at : end if end >= at else len(stream)]
            return None if _MARKER.search(codes) else (segments, codes)
    return segments, b""


def _drop_height(segments: list[MarkerSegment]) -> list[MarkerSegment]:
    return [(kind, data[:1] + data[3:] if kind in _FRAMES else data) for kind, data in segments]


def _count_mcus(frame: bytes) -> int | None:
    """Returns the number of coded units (MCU) of a strip; None if the strip does not end with a whole row of units."""
    height, width, components = struct.unpack_from(">HHB", frame, 1)
    sampling = [frame[7 + 3 * number] for number in range(components) if 7 + 3 * number < len(frame)]
    across = 8 * max((value >> 4 for value in sampling), default=0)
    down = 8 * max((value & 15 for value in sampling), default=0)
    if components == 1:  # a scan of one component has units of 8 x 8, whatever its sampling factors
        across = down = 8
    if not across or not down or height % down:
        return None
    units = -(-width // across) * (height // down)
    return units if 0 < units < 1 << 16 else None
