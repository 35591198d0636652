"""Processes one part of the metadata: it becomes a shard in img2dataset's layout, in the order of its rows.

img2dataset writes images in the order of arrival, with timestamps. This module sorts them, under keys that depend on
the input alone, so that the same responses give the same bytes. The output of part 7 is `00000007`; `00000007-r1` holds
what the first `--retry-failed` added. A row keeps its key, whichever attempt downloads it.
"""

import io
import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import polars as pl
import pyarrow as pa

from pipelines.download.rows import MetadataRow, has_boxes, metadata_reader, row_of, write_urls
from pipelines.img2dataset.failures import NOT_WRITTEN, check_answers, kind_of
from pipelines.img2dataset.process import images_of_addresses, scratch_folder
from pipelines.inputs.source_files import Stretch, read_stretch
from pipelines.inputs.summarised import Summarised
from pipelines.output.output_set import parquet_bytes, put, put_quarantine
from pipelines.recipes.download import DownloadRecipe
from schemas.errors import ShardloomError
from schemas.layouts.datacomp import MAX_JSON, side_schema
from schemas.output_set.layout import DATA, QUARANTINE, remedy
from schemas.output_set.manifest import Manifest, OutputFile
from schemas.records.quarantine import QuarantinedRow
from schemas.storage.folder import Folder
from schemas.storage.parquet import UnreadableParquet, read_table
from schemas.tar.reader import TarReader
from schemas.tar.writer import TarWriter

_STAGE = "download"


@dataclass(frozen=True, slots=True)
class Part:
    """Represents one row range of the metadata. A later attempt requests only rows that the `earlier` outputs lack."""

    number: int
    stretch: Stretch
    attempt: int = 0
    earlier: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Returns the name of its output."""
        return f"{self.number:08d}" + (f"-r{self.attempt}" if self.attempt else "")


@dataclass(frozen=True, slots=True)
class Had:
    """Describes a downloaded image: its .json, and where its other members are in img2dataset's tar."""

    details: dict[str, Any]
    spans: dict[str, tuple[int, int]]  # ending -> offset, size


@dataclass(frozen=True, slots=True)
class Lost:
    """Describes a row whose image was not downloaded; `status` and `message` are img2dataset's."""

    kind: str
    message: str
    status: str = "failed_to_download"


class PartWork:
    """Downloads one part. It can be pickled. `wanted` says which kinds of failure a later attempt retries."""

    def __init__(self, recipe: DownloadRecipe, output: Folder, wanted: Callable[[str], bool]) -> None:
        self.recipe, self.output, self.wanted = recipe, output, wanted
        self.reader, self.recipe_sha256 = metadata_reader(recipe), recipe.sha256()

    def __call__(self, part: Part) -> Manifest:
        """Writes the part's outputs and returns their manifest; the outputs count once the caller writes it.

        Raises `ShardloomError` when no host answered, img2dataset failed as a whole, or an earlier output is damaged.
        """
        items = Summarised(read_stretch(self.reader, part.stretch))
        width = len(str(self.recipe.urls_per_shard - 1))
        rows = [row_of(f"{part.number:08d}{number:0{width}d}", item) for number, item in enumerate(items)]
        asked_again = self.failed(part) if part.attempt else {}
        if part.attempt:
            rows = [row for row in rows if row.key in asked_again]
        asked = [row for row in rows if row.fault is None]
        with scratch_folder(self.output, part.name) as folder:
            made = self.fetched(folder, asked)
            had, lost = found_in(made, asked) if made else ({}, {})
            if not part.attempt:
                check_answers(part.stretch.label, len(had), Counter(loss.kind for loss in lost.values()))
            lost |= {row.key: Lost(row.fault[0], ": ".join(row.fault)) for row in rows if row.fault is not None}
            tar = write_tar(self.output, part.name, made.get(".tar"), had)
        others = [
            put(self.output, f"{DATA}/{part.name}.parquet", side_parquet(rows, had, lost), len(rows)),
            put(self.output, f"{DATA}/{part.name}_stats.json", stats_json(rows, had, lost), 0),
            put_quarantine(
                self.output, part.name, [_quarantined(row, lost[row.key]) for row in rows if row.key in lost]
            ),
        ]
        return Manifest.build(
            part.name,
            self.recipe_sha256,
            inputs=[items.summary.input],
            rows_in=len(rows),
            data=tar,
            others=others,
            reasons=[loss.kind for loss in lost.values()],
            counts={"blurred_images": sum(bool(image.details.get("face_bboxes")) for image in had.values())},
            retried=Counter(asked_again.values()),
        )

    def fetched(self, folder: Path, asked: list[MetadataRow]) -> dict[str, Path]:
        """Runs img2dataset over these rows. Returns its files by ending."""
        if not asked:
            return {}
        more = write_urls(folder, asked, self.recipe)
        return images_of_addresses(folder, len(asked), self.recipe.options(), self.recipe.run.threads, more)

    def failed(self, part: Part) -> dict[str, str]:
        """Returns the keys of the rows to retry, each with the reason of its last failure."""
        left: dict[str, str] = {}
        for name in part.earlier:
            asked = self._committed(f"{DATA}/{name}.parquet").select("key")
            lost = self._committed(f"{QUARANTINE}/{name}.parquet")
            for key in asked["key"]:
                left.pop(key, None)
            left |= dict(zip(lost["key"], lost["reason"], strict=True))
        return {key: kind for key, kind in left.items() if self.wanted(kind)}

    def _committed(self, path: str) -> pl.DataFrame:
        """Reads a table of an earlier attempt. Raises `ShardloomError` when it is not as it was written."""
        try:
            return pl.DataFrame(pl.from_arrow(read_table(io.BytesIO(self.output.read(path)), path=path)))
        except (pa.ArrowException, OSError, UnreadableParquet):
            told = f"{self.output.path(path)} is not as it was committed: {remedy(self.output)}"
            raise ShardloomError(told) from None


def found_in(made: dict[str, Path], asked: list[MetadataRow]) -> tuple[dict[str, Had], dict[str, Lost]]:
    """Returns the downloaded images and the failures by the keys of the rows.

    img2dataset's own keys are positions in `asked`.
    """
    had: dict[str, Had] = {}
    lost: dict[str, Lost] = {}
    with made[".tar"].open("rb") as file:
        for sample in TarReader(file, hashing=False):
            details = json.loads(sample.members["json"].data) | {"key": asked[int(sample.key)].key}
            spans = {ending: (member.offset, len(member.data)) for ending, member in sample.members.items()}
            had[asked[int(sample.key)].key] = Had(details, spans)
    side = pl.read_parquet(made[".parquet"], columns=["key", "status", "error_message"])  # noqa: TID251  made here
    for key, status, message in side.filter(pl.col("status") != "success").iter_rows():
        said = " ".join((message or "").split())
        lost[asked[int(key)].key] = Lost(kind_of(status, said), said, status)
    for row in asked:
        if row.key not in had and row.key not in lost:
            lost[row.key] = Lost(NOT_WRITTEN, "img2dataset could not write it")
    return had, lost


def write_tar(output: Folder, name: str, made: Path | None, had: dict[str, Had]) -> OutputFile:
    """Writes the shard: img2dataset's members, in the order of the keys."""
    path = f"{DATA}/{name}.tar"
    with output.create(path) as target:
        writer = TarWriter(target)
        for key, members in _in_order(made, had):
            for ending, data in members.items():
                writer.add(f"{key}.{ending}", data)
        sha256 = writer.close()
    return OutputFile(path=path, rows=len(had), size=writer.size, sha256=sha256)


def _in_order(made: Path | None, had: dict[str, Had]) -> Iterator[tuple[str, dict[str, bytes]]]:
    if made is None:
        return
    with made.open("rb") as file:
        for key in sorted(had):
            members = {ending: _at(file, *span) for ending, span in sorted(had[key].spans.items())}
            yield key, members | {"json": _as_json(had[key].details)}


def _at(file: BinaryIO, offset: int, size: int) -> bytes:
    file.seek(offset)
    return file.read(size)


def _as_json(details: dict[str, Any]) -> bytes:
    """Encodes as img2dataset does; drops EXIF that would make the .json larger than readers accept."""
    data = json.dumps(details, indent=4).encode()
    return data if len(data) <= MAX_JSON else json.dumps(details | {"exif": None}, indent=4).encode()


def side_parquet(rows: list[MetadataRow], had: dict[str, Had], lost: dict[str, Lost]) -> bytes:
    """Builds img2dataset's table of a shard, which includes the failures."""
    schema = side_schema(has_boxes(rows))
    found: list[dict[str, Any]] = []
    for row in rows:
        if row.key in had:
            found.append(had[row.key].details)
        else:
            loss = lost[row.key]
            known = {"uid": row.uid, "face_bboxes": row.face_bboxes, "caption": row.caption, "url": row.url}
            found.append(known | {"key": row.key, "status": loss.status, "error_message": loss.message[:1000]})
    return parquet_bytes([pa.Table.from_pylist(found, schema=schema)], schema)


def stats_json(rows: list[MetadataRow], had: dict[str, Had], lost: dict[str, Lost]) -> bytes:
    """Builds img2dataset's counts of a shard, without its timestamps."""
    statuses = Counter(loss.status for loss in lost.values())
    said = Counter("success" if row.key in had else lost[row.key].message[:1000] for row in rows)
    counts = {
        "count": len(rows),
        "successes": len(had),
        "failed_to_download": statuses["failed_to_download"],
        "failed_to_resize": statuses["failed_to_resize"],
        "status_dict": dict(said.most_common()),
    }
    return json.dumps(counts, indent=4).encode()


def _quarantined(row: MetadataRow, loss: Lost) -> QuarantinedRow:
    return QuarantinedRow(row.key, row.uid, _STAGE, loss.kind, f"{(row.url or '')[:200]}: {loss.message[:200]}")
