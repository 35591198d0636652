"""Explains why an image was not downloaded: an image store without images, looked up after the downloaded shards."""

import hashlib
import io
import json
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import asdict

import polars as pl

from pipelines.cluster.runner import Runner
from pipelines.img2dataset.failures import classify_failure
from pipelines.ingest.download.parts import IMAGES, Receipt, iterate_failures
from pipelines.ingest.download.urls import UrlPart, hash_address
from schemas.output_set.manifest import InputFile
from schemas.records.quarantine import Reason, Rejected
from schemas.storage.folder import Folder
from schemas.web_address import is_web_address

PARTS_IN_MEMORY = 8  # parts whose failure reasons a worker keeps


class FailedDownloads:
    """Raises the reason for each URL whose download failed: an `ImageStore` without images."""

    damage: Sequence[str] = ()

    def __init__(self, output: Folder, parts: list[UrlPart], receipts: list[Receipt]) -> None:
        self._output, self._parts = output, parts
        self._firsts = [part.first for part in parts]
        self._reasons: dict[str, dict[str, str]] = {}  # of the parts looked up last: URL -> reason
        state = json.dumps([asdict(receipt) for receipt in receipts], sort_keys=True)
        self.revision = InputFile(
            path=output.resolve_path(IMAGES), size=len(state), sha256=hashlib.sha256(state.encode()).hexdigest()
        )

    def prepare(self, output: Folder, runner: Runner) -> None:
        """Does nothing: the reasons are read on demand."""

    def get(self, address: str) -> bytes | None:
        """Always raises `Rejected(lost_image)` with the reason why the URL has no image."""
        reason = "no http or https address"
        if is_web_address(address) and self._parts:
            part = self._parts[max(0, bisect_right(self._firsts, hash_address(address)) - 1)]
            reason = self._load_reasons(part.name).get(address, "downloaded, but none that its shard has whole")
        raise Rejected(Reason.LOST_IMAGE, f"{address[:200]}: {reason}")

    def _load_reasons(self, part: str) -> dict[str, str]:
        if part not in self._reasons:
            if len(self._reasons) >= PARTS_IN_MEMORY:
                self._reasons.pop(next(iter(self._reasons)))
            side = pl.read_parquet(io.BytesIO(self._output.read(f"{IMAGES}/{part}.parquet")))  # noqa: TID251  Shardloom's own file
            self._reasons[part] = {
                url: f"{classify_failure(status, why)}: {why[:200]}" for url, status, why in iterate_failures(side)
            }
        return self._reasons[part]
