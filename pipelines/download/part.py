"""Processes one part of the metadata: it becomes a shard in img2dataset's layout, in the order of its rows.

img2dataset writes images in the order of arrival, with timestamps. This module sorts them, under keys that depend on
the input alone, so that the same responses give the same bytes. The output of part 7 is `00000007`; `00000007-r1` holds
what the first `--retry-failed` added. A row keeps its key, whichever attempt downloads it.
"""

import io
import json
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import polars as pl
import pyarrow as pa

from pipelines.download.rows import MetadataRow, has_boxes, make_metadata_reader, parse_row, write_urls
from pipelines.img2dataset.failures import NOT_WRITTEN, check_responses, classify_failure
from pipelines.img2dataset.process import download_images, make_scratch_folder
from pipelines.inputs.source_files import Item, RowRange, read_row_range
from pipelines.inputs.summarised_iterator import SummarisedIterator
from pipelines.output.writer import encode_parquet, write_output, write_quarantine
from pipelines.recipes.download import DownloadRecipe
from schemas.errors import ShardloomError
from schemas.layouts.datacomp import MAX_METADATA_BYTES, side_schema
from schemas.output_set.layout import DATA, QUARANTINE, suggest_repair
from schemas.output_set.manifest import Manifest, OutputFile
from schemas.records.quarantine import QuarantinedRow
from schemas.storage.folder import Folder
from schemas.storage.parquet import UnreadableParquet, read_table
from schemas.tar.reader import TarReader
from schemas.tar.writer import TarWriter

_STAGE = "download"


@dataclass(frozen=True, slots=True)
class MetadataPart:
    """Represents one row range of the metadata. A later attempt requests only rows that the `earlier` outputs lack."""

    number: int
    row_range: RowRange
    attempt: int = 0
    earlier: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Returns the name of its output."""
        return f"{self.number:08d}" + (f"-r{self.attempt}" if self.attempt else "")


@dataclass(frozen=True, slots=True)
class DownloadedSample:
    """Describes a downloaded image: its .json, and where its other members are in img2dataset's tar."""

    details: dict[str, Any]
    spans: dict[str, tuple[int, int]]  # ending -> offset, size


@dataclass(frozen=True, slots=True)
class FailedDownload:
    """Describes a row whose image was not downloaded; `status` and `message` are img2dataset's."""

    kind: str
    message: str
    status: str = "failed_to_download"


class DownloadTask:
    """Downloads one part. It can be pickled. `should_retry` says which kinds of failure a later attempt retries."""

    def __init__(self, recipe: DownloadRecipe, output: Folder, should_retry: Callable[[str], bool]) -> None:
        self.recipe, self.output, self.should_retry = recipe, output, should_retry
        self.reader, self.recipe_sha256 = make_metadata_reader(recipe), recipe.compute_sha256()

    def __call__(self, part: MetadataPart) -> Manifest:
        """Writes the part's outputs and returns their manifest; they take effect once the caller commits it.

        Raises `ShardloomError` when no host responded, img2dataset failed as a whole, or an earlier output is damaged.
        """
        items = SummarisedIterator(read_row_range(self.reader, part.row_range))
        rows = self.parse_rows(part, items)
        choice, left_out = part.row_range.choice, items.summary.rows - len(rows)
        asked_again = self.find_rows_to_retry(part) if part.attempt else {}
        if part.attempt:
            rows = [row for row in rows if row.key in asked_again]
        asked = [row for row in rows if row.fault is None]
        with make_scratch_folder(self.output, part.name) as folder:
            made = self.run_img2dataset(folder, asked)
            downloaded, failed = read_results(made, asked) if made else ({}, {})
            if not part.attempt:
                check_responses(part.row_range.label, len(downloaded), Counter(loss.kind for loss in failed.values()))
            failed |= {
                row.key: FailedDownload(row.fault[0], ": ".join(row.fault)) for row in rows if row.fault is not None
            }
            tar = write_tar(self.output, part.name, iterate_downloaded(made.get(".tar"), downloaded))
        others = [
            write_output(
                self.output,
                f"{DATA}/{part.name}.parquet",
                encode_side_parquet(make_side_rows(rows, downloaded, failed), has_boxes(rows)),
                len(rows),
            ),
            write_output(self.output, f"{DATA}/{part.name}_stats.json", build_stats_json(rows, downloaded, failed), 0),
            write_quarantine(
                self.output,
                part.name,
                [make_quarantined_row(row, failed[row.key]) for row in rows if row.key in failed],
            ),
        ]
        return Manifest.build(
            part.name,
            self.recipe_sha256,
            inputs=[items.summary.input],
            rows_in=len(rows) + (0 if part.attempt else left_out),
            data=tar,
            others=others,
            reasons=[loss.kind for loss in failed.values()],
            counts={"blurred_images": sum(bool(image.details.get("face_bboxes")) for image in downloaded.values())},
            retried=Counter(asked_again.values()),
            left_out={} if choice is None or part.attempt else {choice.option: left_out},
        )

    def parse_rows(self, part: MetadataPart, items: Iterable[Item]) -> list[MetadataRow]:
        """Parses the chosen rows of a part. A key depends on the number of its row in the part."""
        width = len(str(self.recipe.urls_per_shard - 1))
        marked = enumerate(zip(items, part.row_range.mark_rows(), strict=False))
        return [
            parse_row(f"{part.number:08d}{number:0{width}d}", item) for number, (item, is_chosen) in marked if is_chosen
        ]

    def run_img2dataset(self, folder: Path, asked: list[MetadataRow]) -> dict[str, Path]:
        """Runs img2dataset over these rows. Returns its files by ending."""
        if not asked:
            return {}
        more = write_urls(folder, asked, self.recipe)
        return download_images(folder, len(asked), self.recipe.build_options(), self.recipe.run.threads, more)

    def find_rows_to_retry(self, part: MetadataPart) -> dict[str, str]:
        """Returns the keys of the rows to retry, each with the reason of its last failure."""
        left: dict[str, str] = {}
        for name in part.earlier:
            asked = self.read_committed(f"{DATA}/{name}.parquet").select("key")
            lost = self.read_committed(f"{QUARANTINE}/{name}.parquet")
            for key in asked["key"]:
                left.pop(key, None)
            left |= dict(zip(lost["key"], lost["reason"], strict=True))
        return {key: kind for key, kind in left.items() if self.should_retry(kind)}

    def read_committed(self, path: str) -> pl.DataFrame:
        """Reads a table of a committed output. Raises `ShardloomError` when it is not as it was written."""
        try:
            return pl.DataFrame(pl.from_arrow(read_table(io.BytesIO(self.output.read(path)), path=path)))
        except (pa.ArrowException, OSError, UnreadableParquet):
            message = f"{self.output.resolve_path(path)} is not as it was committed: {suggest_repair(self.output)}"
            raise ShardloomError(message) from None


def read_results(
    files: dict[str, Path], rows: list[MetadataRow]
) -> tuple[dict[str, DownloadedSample], dict[str, FailedDownload]]:
    """Returns the downloaded images and the failures by the keys of the rows.

    img2dataset's own keys are positions in `rows`.
    """
    downloaded: dict[str, DownloadedSample] = {}
    failed: dict[str, FailedDownload] = {}
    with files[".tar"].open("rb") as file:
        for sample in TarReader(file, hashing=False):
            details = json.loads(sample.members["json"].data) | {"key": rows[int(sample.key)].key}
            spans = {ending: (member.offset, len(member.data)) for ending, member in sample.members.items()}
            downloaded[rows[int(sample.key)].key] = DownloadedSample(details, spans)
    side = pl.read_parquet(files[".parquet"], columns=["key", "status", "error_message"])  # noqa: TID251  Shardloom's own file
    for key, status, message in side.filter(pl.col("status") != "success").iter_rows():
        said = " ".join((message or "").split())
        failed[rows[int(key)].key] = FailedDownload(classify_failure(status, said), said, status)
    for row in rows:
        if row.key not in downloaded and row.key not in failed:
            failed[row.key] = FailedDownload(NOT_WRITTEN, "img2dataset could not write it")
    return downloaded, failed


def write_tar(output: Folder, name: str, samples: Iterable[tuple[str, Mapping[str, bytes]]]) -> OutputFile:
    """Writes the shard of these samples: their keys, and their members by ending."""
    path, rows = f"{DATA}/{name}.tar", 0
    with output.create(path) as target:
        writer = TarWriter(target)
        for key, members in samples:
            rows += 1
            for ending, data in members.items():
                writer.add(f"{key}.{ending}", data)
        sha256 = writer.close()
    return OutputFile(path=path, rows=rows, size=writer.size, sha256=sha256)


def iterate_downloaded(
    source: Path | None, downloaded: dict[str, DownloadedSample]
) -> Iterator[tuple[str, dict[str, bytes]]]:
    """Yields img2dataset's samples in the order of their keys: the key, and the members by ending."""
    if source is None:
        return
    with source.open("rb") as file:
        for key in sorted(downloaded):
            members = {ending: _read_at(file, *span) for ending, span in sorted(downloaded[key].spans.items())}
            yield key, members | {"json": _encode_json(downloaded[key].details)}


def _read_at(file: BinaryIO, offset: int, size: int) -> bytes:
    file.seek(offset)
    return file.read(size)


def _encode_json(details: dict[str, Any]) -> bytes:
    """Encodes as img2dataset does; drops EXIF that would make the .json larger than readers accept."""
    data = json.dumps(details, indent=4).encode()
    return data if len(data) <= MAX_METADATA_BYTES else json.dumps(details | {"exif": None}, indent=4).encode()


def make_side_rows(
    rows: list[MetadataRow], downloaded: Mapping[str, DownloadedSample], failed: Mapping[str, FailedDownload]
) -> list[dict[str, Any]]:
    """Returns the rows of img2dataset's table of a shard, which includes the failures."""
    found: list[dict[str, Any]] = []
    for row in rows:
        if row.key in downloaded:
            found.append(downloaded[row.key].details)
        else:
            loss = failed[row.key]
            known = {"uid": row.uid, "face_bboxes": row.face_bboxes, "caption": row.caption, "url": row.url}
            found.append(known | {"key": row.key, "status": loss.status, "error_message": loss.message[:1000]})
    return found


def encode_side_parquet(rows: list[dict[str, Any]], has_boxes: bool) -> bytes:
    """Encodes img2dataset's table of a shard."""
    schema = side_schema(has_boxes)
    return encode_parquet([pa.Table.from_pylist(rows, schema=schema)], schema)


def build_stats_json(
    rows: list[MetadataRow], downloaded: Collection[str], failed: Mapping[str, FailedDownload]
) -> bytes:
    """Builds img2dataset's counts of a shard, without its timestamps."""
    statuses = Counter(loss.status for loss in failed.values())
    said = Counter("success" if row.key in downloaded else failed[row.key].message[:1000] for row in rows)
    counts = {
        "count": len(rows),
        "successes": len(downloaded),
        "failed_to_download": statuses["failed_to_download"],
        "failed_to_resize": statuses["failed_to_resize"],
        "status_dict": dict(said.most_common()),
    }
    return json.dumps(counts, indent=4).encode()


def make_quarantined_row(row: MetadataRow, loss: FailedDownload) -> QuarantinedRow:
    """Returns the quarantined row of a row whose image was not downloaded."""
    return QuarantinedRow(row.key, row.uid, _STAGE, loss.kind, f"{(row.url or '')[:200]}: {loss.message[:200]}")
