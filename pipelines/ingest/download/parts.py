"""Downloads one part of the URLs as one img2dataset shard, with a receipt; a part with a valid receipt is skipped."""

import shutil
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace

import polars as pl

from pipelines.img2dataset import process as img2dataset
from pipelines.img2dataset.failures import NOT_WRITTEN, check_responses, classify_failure
from pipelines.ingest.download.urls import URLS, UrlPart
from pipelines.recipes.download import DownloadOptions
from schemas.errors import ShardloomError
from schemas.output_set.manifest import seal, unseal
from schemas.storage.folder import Folder

IMAGES = "downloads/images"

_RECEIPTS = "downloads/receipts"


@dataclass(frozen=True, slots=True)
class Receipt:
    """Records the result of downloading one part. It is written as JSON, after the part's files."""

    part: str
    urls_sha256: str
    options: dict[str, object]
    tar_size: int
    downloaded: int
    failures: dict[str, int]  # by `classify_failure`


def download_part(output: Folder, options: DownloadOptions, threads: int, part: UrlPart) -> Receipt:
    """Downloads a part and writes its receipt. Raises `ShardloomError` if no host responded; the next run retries."""
    with img2dataset.make_scratch_folder(output, part.name) as folder:
        (folder / img2dataset.URLS).write_bytes(output.read(f"{URLS}/{part.name}.parquet"))
        made = img2dataset.download_images(folder, part.urls, options, threads)
        side = pl.read_parquet(made[".parquet"], columns=["url", "status", "error_message"])  # noqa: TID251  Shardloom's own file
        failures = Counter(classify_failure(status, message) for _, status, message in iterate_failures(side))
        downloaded = side.height - failures.total()
        if part.urls > side.height:
            failures[NOT_WRITTEN] = part.urls - side.height
        check_responses(output.resolve_path(f"{URLS}/{part.name}.parquet"), downloaded, failures)
        for ending, path in made.items():
            with path.open("rb") as source, output.create(f"{IMAGES}/{part.name}{ending}") as target:
                shutil.copyfileobj(source, target, 1 << 20)
        size = made[".tar"].stat().st_size
    asked = options.model_dump(mode="json")
    receipt = Receipt(part.name, part.sha256, asked, size, downloaded, dict(sorted(failures.items())))
    output.write(f"{_RECEIPTS}/{part.name}.json", seal(asdict(receipt)))
    return receipt


def iterate_failures(side: pl.DataFrame) -> Iterator[tuple[str, str, str]]:
    """Yields URL, status and message (on one line) of each failed row in img2dataset's table of a shard."""
    message = pl.col("error_message").fill_null("").str.replace_all(r"\s+", " ").str.strip_chars()
    return side.filter(pl.col("status") != "success").select("url", "status", message).iter_rows()


def find_valid_receipt(output: Folder, options: DownloadOptions, part: UrlPart) -> Receipt | None:
    """Returns an earlier run's receipt if its URLs and options are the same and its files are whole, else None."""
    name = f"{_RECEIPTS}/{part.name}.json"
    if not output.exists(name):
        return None
    asked = options.model_dump(mode="json")
    try:
        receipt = Receipt(**unseal(output.read(name)))
        is_same = replace(receipt, urls_sha256=part.sha256, options=asked) == receipt
        is_whole = output.get_size(f"{IMAGES}/{part.name}.tar") == receipt.tar_size
        return receipt if is_same and is_whole and output.exists(f"{IMAGES}/{part.name}.parquet") else None
    except (ValueError, TypeError, ShardloomError):
        return None
