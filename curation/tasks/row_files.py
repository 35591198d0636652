"""Reads the rows of question files: lines of JSON, TSV, Parquet, tars of captioned images, and what a layout adds."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pyarrow as pa

from curation.sources.formats.json_object import read_list
from curation.tasks.layouts.layout import Items, Layout, Row
from curation.tasks.tsv_rows import read_tsv
from schemas.errors import UsageError, to_one_line
from schemas.json_text import MAX_JSON, parse_object
from schemas.log import LOG
from schemas.records.quarantine import Reason, Rejected
from schemas.storage.folder import split_path
from schemas.storage.parquet import UnreadableParquet, iterate_batches, open_parquet
from schemas.storage.row_objects import iterate_rows
from schemas.tar.reader import TarReader

_IMAGE_ENDINGS = ("jpg", "jpeg", "png", "webp", "gif", "bmp", "tif", "tiff")
_BATCH_ROWS = 64

Found = Iterator[Row | Rejected]


def read_rows(path: str, layout: Layout) -> Found:
    """Yields the rows of a file, or why one is none. Raises `UsageError` for a file that is none of the layout's."""
    for ending, read in _READERS.items():
        if path.endswith(ending):
            yield from read(path)
            return
    for ending, items in layout.items.items():
        if path.endswith(ending):
            yield from _read_items(path, items)
            return
    endings = (*_READERS, *layout.items)
    of = f" of the layout {layout.name}" if layout.name else ""
    advice = "" if layout.name or not path.endswith((".json", ".txt")) else "; others need questions.layout"
    raise UsageError(f"{path}: questions{of} are read from {', '.join(endings)} files{advice}")


def read_annotations(path: str, name: str) -> dict[Any, Row | Rejected]:
    """Returns the annotations of a JSON file, the list `annotations` of its object, by their `name`.

    Two that differ are rejected. Raises `UsageError` if the file has none.
    """
    found: dict[Any, Row | Rejected] = {}
    for row in _read_items(path, read_list("annotations")):
        if isinstance(row, Rejected) or not isinstance(row.get(name), int | str):
            raise UsageError(f"{path}: an annotation has no {name}")
        uid = row[name]
        is_other = found.setdefault(uid, row) != row
        if is_other:
            found[uid] = Rejected(Reason.MALFORMED_ROW, f"question {uid} has two annotations that differ")
    return found


def _read_items(path: str, items: Items) -> Found:
    folder, name = split_path(path)
    try:
        with folder.open(name) as file:
            for item in items(file):
                if isinstance(item, Mapping | Rejected):
                    yield item
                else:
                    yield Rejected(Reason.MALFORMED_ROW, f"a {type(item).__name__}, not an object")
    except UsageError as error:
        raise UsageError(f"{path} can't be read: {error}") from None


def _read_json_lines(path: str) -> Found:
    folder, name = split_path(path)
    for line in folder.read(name).splitlines():
        if line.strip():
            try:
                yield parse_object(line, "the line", MAX_JSON)
            except ValueError as error:
                yield Rejected(Reason.MALFORMED_ROW, str(error))


def _read_table(path: str) -> Found:
    return _read_items(path, read_tsv)


def _read_parquet(path: str) -> Found:
    folder, name = split_path(path)
    try:
        with folder.open(name) as file:
            for batch in iterate_batches(open_parquet(file, path), _BATCH_ROWS):
                for at in range(batch.num_rows):
                    try:
                        yield from iterate_rows(batch.slice(at, 1))
                    except ValueError as error:  # text that is not UTF-8, or lists without end
                        yield Rejected(Reason.MALFORMED_ROW, to_one_line(error))
    except (UnreadableParquet, pa.ArrowException) as error:
        raise UsageError(f"{path} can't be read: {to_one_line(error)}") from None


def _read_tar(path: str) -> Found:
    """Yields the samples of a tar of images with captions: the caption is the answer, and there is no question."""
    folder, name = split_path(path)
    with folder.open(name) as file:
        tar = TarReader(file, hashing=False)
        for sample in tar:
            if sample.fault is not None:
                yield sample.fault
                continue
            images = [member.data for ending, member in sample.members.items() if ending in _IMAGE_ENDINGS]
            if not images:
                yield Rejected(Reason.MISSING_IMAGE, f"{sample.key} has no image")
                continue
            caption = sample.members.get("txt")
            yield {"id": sample.key, "image": images[0], "answers": None if caption is None else caption.data}
    if tar.damage:
        LOG.warning(f"{path} is damaged at {len(tar.damage):,} places: its samples there are in no figure")


_READERS: dict[str, Callable[[str], Found]] = {
    ".jsonl": _read_json_lines,
    ".tsv": _read_table,
    ".parquet": _read_parquet,
    ".tar": _read_tar,
}
