"""Reads the TSV files in which VLMEvalKit publishes benchmarks: a header, and images in base64.

Fields are quoted where they hold tabs, quotes or line ends, as pandas writes them. `image` is an image in base64, a
list of such in Python's notation, or the index of an earlier row that has the image, as the rotated questions of
MMBench do. Where there is no `image`, `image_path` names a file, or lists several.
"""

import ast
import base64
import binascii
import csv
from collections.abc import Iterator
from io import TextIOWrapper
from typing import Any, BinaryIO

from curation.tasks.layouts.layout import Row
from schemas.errors import UsageError
from schemas.records.quarantine import Reason, Rejected

_MAX_FIELD = 1 << 28  # characters: a list of images of some megabytes each
_MAX_INDEX = 64  # characters of a reference to another row; the smallest image has more


def read_tsv(file: BinaryIO) -> Iterator[Row | Rejected]:
    """Yields the rows by the names of the header; a row that does not fit it is rejected.

    Raises `UsageError` for a file without rows, and for a quote that never ends; the caller adds the file's name.
    """
    csv.field_size_limit(_MAX_FIELD)
    lines = csv.reader(TextIOWrapper(file, "utf-8-sig", "surrogateescape", newline=""), delimiter="\t", strict=True)
    images: dict[str, Any] = {}
    try:
        names = next(lines, None)
        if not names or len(names) < 2:
            raise UsageError("it has no header of several columns")
        for values in lines:
            try:
                yield _read_row(names, values, images)
            except Rejected as fault:
                yield fault
    except csv.Error as error:
        raise UsageError(f"line {lines.line_num}: {error}") from None


def _read_row(names: list[str], values: list[str], images: dict[str, Any]) -> Row:
    """Returns a row, whose images it adds to those of the rows before. Empty fields are null. Raises `Rejected`."""
    if len(values) != len(names):
        raise Rejected(Reason.MALFORMED_ROW, f"it has {len(values)} columns, not {len(names)}")
    row: dict[str, Any] = {name: _decode(value) for name, value in zip(names, values, strict=True)}
    index, image = row.get("index"), row.get("image")
    if isinstance(image, str):
        if len(image) <= _MAX_INDEX:
            if image not in images:
                raise Rejected(Reason.MISSING_IMAGE, f"its image is that of row {image}, which has none before it")
            row["image"] = images[image]
        else:
            row["image"] = [_decode_image(one) for one in _split_list(image)]
            images[str(index)] = row["image"]
    elif image is None and isinstance(paths := row.get("image_path"), str):
        row["image"] = _split_list(paths)
    return row


def _decode(value: str) -> str | bytes | None:
    """Returns a field; its bytes if they are not UTF-8, which rejects the row if the field is needed."""
    if value.isascii():
        return value or None
    try:
        value.encode()
    except UnicodeEncodeError:
        return value.encode("utf-8", "surrogateescape")
    return value


def _split_list(text: str) -> list[str]:
    """Returns the texts of a list in Python's notation, or the text itself. Raises `Rejected`."""
    if not text.startswith("["):
        return [text]
    try:
        values = ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        values = None
    if not isinstance(values, list) or not values or not all(isinstance(value, str) for value in values):
        raise Rejected(Reason.MALFORMED_ROW, f"its images are a text that is no list: {text[:60]!r}")
    return values


def _decode_image(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise Rejected(Reason.DECODE_ERROR, "its image is not base64") from None
