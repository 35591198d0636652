"""Reads the TSV files in which VLMEvalKit publishes benchmarks: a header, and images in base64.

Fields are quoted where they hold tabs, quotes or line ends, as pandas writes them. `image` is an image in base64, a
list of such in Python's notation, the name of a file, or the index of another row that has the image, as the rotated
questions of MMBench do. Where there is no `image`, `image_path` names a file, or lists several. Several right answers
are a list in Python's notation.
"""

import csv
from collections.abc import Iterator
from io import TextIOWrapper
from typing import Any, BinaryIO

from curation.tasks.encoded_images import decode_image, is_name
from curation.tasks.layouts.layout import Row
from curation.tasks.written_lists import parse_texts
from schemas.errors import UsageError
from schemas.records.quarantine import Reason, Rejected

_MAX_FIELD = 1 << 28  # characters: a list of images of some megabytes each
_MAX_INDEX = 64  # characters of a reference to another row; the smallest image has more
_ANSWERS = ("answer", "answers")


def read_tsv(file: BinaryIO) -> Iterator[Row | Rejected]:
    """Yields the rows by the names of the header; a row that does not fit it is rejected.

    Rows whose image is that of a later row come last. Raises `UsageError` for a file without rows, and for a quote that
    never ends; the caller adds the file's name.
    """
    csv.field_size_limit(_MAX_FIELD)
    lines = csv.reader(TextIOWrapper(file, "utf-8-sig", "surrogateescape", newline=""), delimiter="\t", strict=True)
    images: dict[str, list[Any]] = {}
    waiting: list[dict[str, Any]] = []
    try:
        names = _read_header(next(lines, []))
        for values in filter(None, lines):  # pandas skips empty lines, too
            try:
                row = _read_row(names, values)
                if _has_image(row, images):
                    yield row
                else:
                    waiting.append(row)
            except Rejected as fault:
                yield fault
    except csv.Error as error:
        raise UsageError(f"line {lines.line_num}: {error}") from None
    for row in waiting:
        image = row["image"]
        no_image = Rejected(Reason.MISSING_IMAGE, f"its image is that of row {image}, which has none")
        yield {**row, "image": images[image]} if image in images else no_image


def _read_header(names: list[str]) -> list[str]:
    if len(names) < 2:
        raise UsageError("it has no header of several columns")
    if repeated := [name for number, name in enumerate(names) if name in names[:number]]:
        raise UsageError(f"two of its columns have the name {repeated[0]!r}")
    return names


def _read_row(names: list[str], values: list[str]) -> dict[str, Any]:
    """Returns a row. Empty fields are null. Raises `Rejected` for one with more or fewer fields than the header."""
    if len(values) != len(names):
        raise Rejected(Reason.MALFORMED_ROW, f"it has {len(values)} columns, not {len(names)}")
    row: dict[str, Any] = {name: _decode(value) for name, value in zip(names, values, strict=True)}
    for name in _ANSWERS:
        if isinstance(text := row.get(name), str):
            row[name] = parse_texts(text) or text
    return row


def _has_image(row: dict[str, Any], images: dict[str, list[Any]]) -> bool:
    """Decodes the row's images and adds them to those of other rows; returns whether they are known.

    Raises `Rejected` for images that can't be decoded.
    """
    image = row.get("image")
    if isinstance(image, str) and len(image) <= _MAX_INDEX and not is_name(image):
        if image not in images:
            return False
        row["image"] = images[image]
    elif isinstance(image, str):
        row["image"] = [one if is_name(one) else decode_image(one) for one in _split_list(image)]
        if isinstance(index := row.get("index"), str):
            images.setdefault(index, row["image"])
    elif image is None and isinstance(paths := row.get("image_path"), str):
        row["image"] = _split_list(paths)
    return True


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
    values = parse_texts(text, _MAX_FIELD)
    if values is None:
        raise Rejected(Reason.MALFORMED_ROW, f"its images are a text that is no list: {text[:60]!r}")
    return values
