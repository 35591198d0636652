"""Downloads the images of a set that holds only their URLs, with img2dataset; its shards are kept and read from.

The output folder gets:

- `downloads/urls/`: all http and https URLs of the input, each once, in one Parquet file per part.
- `downloads/images/`: what img2dataset writes for each part: a tar, a Parquet file that includes the failures, counts.
- `downloads/receipts/`: one file per part, written last; a part with a receipt is never downloaded again.
- `downloads/summary.json`: the number of images downloaded, and of those that failed, by reason.
"""

import functools
import json
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

from pipelines.img2dataset.placement import plan_download_placement
from pipelines.ingest.download.failed_downloads import FailedDownloads
from pipelines.ingest.download.parts import IMAGES, Receipt, download_part, find_valid_receipt
from pipelines.ingest.download.urls import UrlPart, list_url_parts
from pipelines.ingest.row_watch import RowWatch
from pipelines.ingest.stores.shards import ShardStore
from pipelines.ingest.stores.store import ImageStore
from pipelines.ingest.unit import IngestUnit
from pipelines.inputs.shards import InputShard
from pipelines.output.job import Context
from pipelines.recipes.ingest import IngestRecipe
from schemas.log import LOG
from schemas.storage.folder import Folder

READER_THREADS = 8  # threads that read receipts: small files, possibly on an object store

_SUMMARY = "downloads/summary.json"


def download_stores(
    recipe: IngestRecipe, context: Context, units: list[IngestUnit], watch: RowWatch
) -> list[ImageStore]:
    """Downloads the missing parts. Returns a store of the images, then one with the reason for each failed URL."""
    output = context.output
    with context.show_progress("find addresses", len(units), "addresses") as progress:
        parts = list_url_parts(recipe, context, units, watch, progress)
    receipts = download_parts(recipe, context, parts)
    write_summary(output, parts, receipts)
    losses = FailedDownloads(output, parts, receipts)
    if not any(receipt.tar_size for receipt in receipts):
        return [losses]
    names = [name for name in output.list_files(IMAGES) if name.endswith(".tar")]  # no glob: the path may hold a `*`
    tars = [InputShard(name.removesuffix(".tar"), output.resolve_path(f"{IMAGES}/{name}")) for name in names]
    return [ShardStore(tars), losses]


def download_parts(recipe: IngestRecipe, context: Context, parts: list[UrlPart]) -> list[Receipt]:
    """Downloads the parts without a valid receipt. Returns the receipts of all parts, in the order of their names."""
    assert recipe.download is not None
    output = context.output
    with ThreadPoolExecutor(READER_THREADS) as pool:
        held = list(pool.map(functools.partial(find_valid_receipt, output, recipe.download), parts))
    receipts = [receipt for receipt in held if receipt is not None]
    todo = [part for part, receipt in zip(parts, held, strict=True) if receipt is None]
    where = plan_download_placement(context.runner, len(todo)) if todo else {}
    with context.show_progress("download", len(parts)) as progress:
        progress.advance(len(receipts))
        work = functools.partial(download_part, output, recipe.download, recipe.run.download_threads)
        for receipt in context.runner.map(work, todo, placement=where):
            receipts.append(receipt)
            progress.advance(1)
            progress.show(sum(receipt.downloaded for receipt in receipts))
    return sorted(receipts, key=lambda receipt: receipt.part)


def write_summary(output: Folder, parts: list[UrlPart], receipts: list[Receipt]) -> None:
    """Writes and prints the number of images downloaded, and of those that failed, by reason."""
    failures = sum((Counter(receipt.failures) for receipt in receipts), Counter[str]())
    downloaded, asked = sum(receipt.downloaded for receipt in receipts), sum(part.urls for part in parts)
    summary = {"urls": asked, "downloaded": downloaded, "failures": dict(failures.most_common())}
    output.write(_SUMMARY, json.dumps(summary, indent=1).encode() + b"\n")
    why = ", ".join(f"{count} {kind}" for kind, count in failures.most_common())
    LOG.info(f"download: {downloaded:,} of {asked:,} images" + (f" ({why})" if why else ""))
