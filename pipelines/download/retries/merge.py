"""Downloads the quarantined rows of a part again, and merges them into the output of the part.

What rounds of `--retry-failed` have added to the part, as outputs of their own, is merged into it too.
"""

import contextlib
import heapq
from collections import Counter
from collections.abc import Iterator, Sequence
from operator import itemgetter
from pathlib import Path
from typing import Any, BinaryIO

from pipelines.download.part import (
    DownloadedSample,
    DownloadTask,
    FailedDownload,
    MetadataPart,
    build_stats_json,
    encode_side_parquet,
    iterate_downloaded,
    make_quarantined_row,
    make_side_rows,
    read_results,
    write_tar,
)
from pipelines.download.rows import MetadataRow, has_boxes
from pipelines.img2dataset.process import make_scratch_folder
from pipelines.inputs.source_files import read_row_range
from pipelines.inputs.summarised_iterator import SummarisedIterator
from pipelines.output.replacement import open_staging
from pipelines.output.writer import write_output, write_quarantine
from schemas.errors import ShardloomError
from schemas.output_set.layout import DATA, QUARANTINE, read_manifest, suggest_repair
from schemas.output_set.manifest import Manifest, OutputFile
from schemas.records.quarantine import QuarantinedRow
from schemas.storage.folder import Folder
from schemas.tar.reader import TarReader


class RetryTask(DownloadTask):
    """Downloads the quarantined rows of a part again. Its output is staged, to replace those of the part.

    `earlier` of a part names all its outputs, the first one first.
    """

    def __call__(self, part: MetadataPart) -> Manifest:
        """Writes the outputs of the part as they would be had the answers been these at once; returns their manifest.

        Raises `ShardloomError` where the part's metadata or outputs have changed.
        """
        before = read_manifest(self.output, f"{part.name}.json")
        items = SummarisedIterator(read_row_range(self.reader, part.row_range))
        rows = self.parse_rows(part, items)
        if items.summary.input != before.inputs[0]:
            raise ShardloomError(f"{part.row_range.label} has changed since it was downloaded: use a new output folder")
        side, lost = self._read_outcomes(part)
        asked = [
            row for row in rows if row.fault is None and row.key in lost and self.should_retry(lost[row.key].reason)
        ]
        with make_scratch_folder(self.output, part.name) as folder:
            made = self.run_img2dataset(folder, asked)
            downloaded, failed = read_results(made, asked) if made else ({}, {})
            staged = open_staging(self.output)
            samples = merge_samples(self.output, part.earlier, made.get(".tar"), downloaded)
            tar = write_tar(staged, part.name, samples)
        side |= {row["key"]: row for row in make_side_rows(asked, downloaded, failed)}
        lost = {key: row for key, row in lost.items() if key not in downloaded}
        lost |= {row.key: make_quarantined_row(row, failed[row.key]) for row in asked if row.key in failed}
        return self._write_tables(staged, before, rows, tar, side, lost)

    def _read_outcomes(self, part: MetadataPart) -> tuple[dict[str, dict[str, Any]], dict[str, QuarantinedRow]]:
        """Returns by key the side row of each row, and the quarantined rows, both by the last attempt at the row."""
        side: dict[str, dict[str, Any]] = {}
        lost: dict[str, QuarantinedRow] = {}
        for name in part.earlier:
            for row in self.read_committed(f"{DATA}/{name}.parquet").to_dicts():
                side[row["key"]] = row
                lost.pop(row["key"], None)
            for row in self.read_committed(f"{QUARANTINE}/{name}.parquet").to_dicts():
                lost[row["key"]] = QuarantinedRow(**row)
        return side, lost

    def _write_tables(
        self,
        staged: Folder,
        before: Manifest,
        rows: list[MetadataRow],
        tar: OutputFile,
        side: dict[str, dict[str, Any]],
        lost: dict[str, QuarantinedRow],
    ) -> Manifest:
        """Writes the tables of a part beside its tar; `side` and `lost` have the rows of its two tables by key."""
        name = before.name
        failed = {
            key: FailedDownload(row.reason, side[key]["error_message"], side[key]["status"])
            for key, row in lost.items()
        }
        got = {row.key for row in rows if row.key not in lost}
        if tar.rows != len(got):
            raise ShardloomError(
                f"{self.output.resolve_path(DATA)}/{name}.tar is not as it was committed: {suggest_repair(self.output)}"
            )
        table = encode_side_parquet([side[row.key] for row in rows], has_boxes(rows))
        manifest = Manifest.build(
            name,
            before.recipe_sha256,
            inputs=before.inputs,
            rows_in=before.rows_in,
            data=tar,
            others=[
                write_output(staged, f"{DATA}/{name}.parquet", table, len(rows)),
                write_output(staged, f"{DATA}/{name}_stats.json", build_stats_json(rows, got, failed), 0),
                write_quarantine(staged, name, [lost[row.key] for row in rows if row.key in lost]),
            ],
            reasons=Counter(row.reason for row in lost.values()),
            counts={"blurred_images": sum(bool(side[key].get("face_bboxes")) for key in got)},
            left_out=before.left_out,
        )
        return manifest.model_copy(update={"attempts": before.attempts + 1})


def merge_samples(
    output: Folder, names: Sequence[str], made: Path | None, downloaded: dict[str, DownloadedSample]
) -> Iterator[tuple[str, dict[str, bytes]]]:
    """Yields the samples of a part's committed shards and those downloaded now, in the order of their keys."""
    with contextlib.ExitStack() as files:
        held = [_iterate_samples(files.enter_context(output.open(f"{DATA}/{name}.tar"))) for name in names]
        yield from heapq.merge(*held, iterate_downloaded(made, downloaded), key=itemgetter(0))


def _iterate_samples(file: BinaryIO) -> Iterator[tuple[str, dict[str, bytes]]]:
    for sample in TarReader(file, hashing=False):
        yield sample.key, {ending: member.data for ending, member in sample.members.items()}
