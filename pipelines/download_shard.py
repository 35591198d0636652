"""One part of the addresses becomes one img2dataset shard with a receipt; what has one is never asked for again."""

import re
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import polars as pl

from pipelines import img2dataset
from pipelines.download_addresses import URLS, Part
from pipelines.recipe import DownloadOptions
from schemas.errors import ShardloomError
from schemas.manifest import seal, unseal
from schemas.output_set import PARTS
from schemas.storage import Folder

IMAGES = "downloads/images"

_RECEIPTS = "downloads/receipts"
_KINDS = (
    (r"refused [\w-]+ address", "refused_address"),
    (r"deadline", "deadline"),
    (r"too large", "too_large"),
    (r"timed out", "timed_out"),
    (r"unknown url type", "not_http"),
    (r"X-Robots-Tag", "forbidden_by_host"),
    (r"Name or service not known|name resolution|No address associated", "unknown_host"),
    (r"CERTIFICATE|certificate", "bad_certificate"),
)


@dataclass(frozen=True, slots=True)
class Receipt:
    """What came of a part."""

    part: str
    urls_sha256: str
    options: dict[str, object]
    tar_size: int
    downloaded: int
    failures: dict[str, int]  # by `kind_of`


def fetch(output: Folder, options: DownloadOptions, threads: int, part: Part) -> Receipt:
    """Downloads a part; what came of it."""
    scratch = output.local_path(PARTS) if output.is_local else None
    if scratch is not None:
        scratch.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f"{part.name}-", dir=scratch) as name:
        folder = Path(name).resolve()
        (folder / img2dataset.URLS).write_bytes(output.read(f"{URLS}/{part.name}.parquet"))
        made = img2dataset.images_of_addresses(folder, part.urls, options, threads)
        side = pl.read_parquet(made[".parquet"], columns=["url", "status", "error_message"])
        for ending, path in made.items():
            with path.open("rb") as source, output.create(f"{IMAGES}/{part.name}{ending}") as target:
                shutil.copyfileobj(source, target, 1 << 20)
        size = made[".tar"].stat().st_size
    failures = Counter(kind_of(status, message) for _, status, message in failed(side))
    downloaded = side.height - failures.total()
    if part.urls > side.height:  # it passes over what its own writer chokes on
        failures["not_written"] = part.urls - side.height
    asked = options.model_dump(mode="json")
    receipt = Receipt(part.name, part.sha256, asked, size, downloaded, dict(sorted(failures.items())))
    output.write(f"{_RECEIPTS}/{part.name}.json", seal(asdict(receipt)))
    return receipt


def failed(side: pl.DataFrame) -> Iterator[tuple[str, str, str]]:
    """Address, status and message, in one line, of each image that img2dataset's table of a shard lacks."""
    message = pl.col("error_message").fill_null("").str.replace_all(r"\s+", " ").str.strip_chars()
    return side.filter(pl.col("status") != "success").select("url", "status", message).iter_rows()


def kind_of(status: str, message: str) -> str:
    """One word for why an image could not be had, to count by."""
    if status == "failed_to_resize":
        return "too_many_pixels" if "MAX_IMAGE_PIXELS" in message else "not_an_image"
    if error := re.search(r"HTTP Error (\d{3})", message):
        return f"http_{error[1]}"
    return next((kind for pattern, kind in _KINDS if re.search(pattern, message)), "no_answer")


def held_receipt(output: Folder, options: DownloadOptions, part: Part) -> Receipt | None:
    """Of an earlier run, if it is of these addresses and options, and its files are whole."""
    name = f"{_RECEIPTS}/{part.name}.json"
    if not output.exists(name):
        return None
    asked = options.model_dump(mode="json")
    try:
        receipt = Receipt(**unseal(output.read(name)))
        is_same = replace(receipt, urls_sha256=part.sha256, options=asked) == receipt
        is_whole = output.size(f"{IMAGES}/{part.name}.tar") == receipt.tar_size
        return receipt if is_same and is_whole and output.exists(f"{IMAGES}/{part.name}.parquet") else None
    except (ValueError, TypeError, ShardloomError):
        return None
