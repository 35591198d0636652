"""Downloads the images of a set that only has their addresses, by img2dataset, whose shards are kept and read as such.

Below the output folder:

- `downloads/urls/`: all http and https addresses of the input, each once, in Parquet files that are a part each. They
  are sorted by a hash: so a part has something of all hosts, none of which is asked for thousands of images in a row.
- `downloads/images/`: what img2dataset writes of each part: a tar, a Parquet file that has its failures too, counts.
- `downloads/receipts/`: written last; a part that has one is never asked for again.
- `downloads/summary.json`: how many images were had, and how many were not, by reason.

Who may be connected to, and for how long, is the business of `environments/run_img2dataset.py`.
"""

import contextlib
import functools
import hashlib
import io
import itertools
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import polars as pl

from curation.sources import SOURCES
from pipelines.environments.python import python_of
from pipelines.image_store import ImageStore, ShardStore
from pipelines.ingest_unit import Unit, images_of, read_draft
from pipelines.inputs import input_shards
from pipelines.progress import Progress
from pipelines.recipe import DownloadOptions, IngestRecipe, RunOptions
from pipelines.source_files import StretchReader
from pipelines.units import map_units
from schemas.datacomp import read_sample
from schemas.errors import ShardloomError
from schemas.manifest import InputFile, seal, unseal
from schemas.output_set import PARTS
from schemas.quarantine import Reason, Rejected
from schemas.storage import Folder
from schemas.tar_reader import TarReader
from schemas.tar_writer import TarWriter

DOWNLOADS = "downloads"
GRACE = 60.0  # seconds after the deadline until img2dataset is killed: it ends by itself once all connections have
SORTED_AT_ONCE = 5_000_000  # addresses in memory, some 150 bytes each
PARTS_IN_MEMORY = 8  # of whose failures a worker remembers the reasons

_URLS, _IMAGES, _RECEIPTS = f"{DOWNLOADS}/urls", f"{DOWNLOADS}/images", f"{DOWNLOADS}/receipts"
_LIST, _SUMMARY = f"{DOWNLOADS}/urls.json", f"{DOWNLOADS}/summary.json"
_FOUND = f"{PARTS}/urls"
_RUNNER = Path(__file__).parent / "environments" / "run_img2dataset.py"
_KEPT_VARIABLES = ("PATH", "LANG", "SSL_CERT_FILE", "SSL_CERT_DIR")  # no keys: the process reads what strangers send


@dataclass(frozen=True, slots=True)
class Part:
    """Some of the addresses: one shard of img2dataset."""

    number: int
    urls: int
    first: int  # the hash of its first address
    sha256: str  # of its file

    @property
    def name(self) -> str:
        """Of its files."""
        return f"downloaded_{self.number:08d}"


@dataclass(frozen=True, slots=True)
class Receipt:
    """What came of a part."""

    part: str
    urls_sha256: str
    options: dict[str, object]
    tar_size: int
    downloaded: int
    failures: dict[str, int]  # by `kind_of`


def downloaded_stores(recipe: IngestRecipe, output: Folder, units: list[Unit], quiet: bool) -> list[ImageStore]:
    """Downloads what is not there yet. The images, and behind them a store that says why an image is none of them."""
    assert recipe.download is not None
    with Progress("find addresses", len(units), "addresses", quiet) as progress:
        parts = listed(recipe, output, units, progress)
    if parts:
        python_of("img2dataset")  # here first: no worker has to wait for another one that makes it
    receipts: list[Receipt] = []
    with Progress("download", len(parts), "images", quiet) as progress:
        work = functools.partial(fetch, output, recipe.download, recipe.run.download_threads)
        for receipt in map_units(work, parts, recipe.run):
            receipts.append(receipt)
            progress.advance(1)
            progress.show(sum(receipt.downloaded for receipt in receipts))
    failures = sum((Counter(receipt.failures) for receipt in receipts), Counter[str]())
    had, asked = sum(receipt.downloaded for receipt in receipts), sum(part.urls for part in parts)
    summary = {"urls": asked, "downloaded": had, "failures": dict(failures.most_common())}
    output.write(_SUMMARY, json.dumps(summary, indent=1).encode() + b"\n")
    if not quiet:
        why = ", ".join(f"{count} {kind}" for kind, count in failures.most_common())
        print(f"download: {had:,} of {asked:,} images" + (f" ({why})" if why else ""), file=sys.stderr)
    losses = Losses(output, parts, sorted(receipts, key=lambda receipt: receipt.part))
    if not any(receipt.tar_size for receipt in receipts):
        return [losses]
    return [DownloadedStore(input_shards([output.path(f"{_IMAGES}/*.tar")], ".tar")), losses]


def listed(recipe: IngestRecipe, output: Folder, units: list[Unit], progress: Progress) -> list[Part]:
    """The parts, from the list of an earlier run if the input and the size of the parts are still the same."""
    assert recipe.download is not None
    size = recipe.download.urls_per_shard
    state = json.dumps([size, recipe.source, [[unit.stretch.label, unit.stretch.size] for unit in units]])
    revision = hashlib.sha256(state.encode()).hexdigest()
    if output.exists(_LIST):
        with contextlib.suppress(ValueError):
            held = unseal(output.read(_LIST))
            if held["revision"] == revision:
                return [Part(**part) for part in held["parts"]]
    total = 0
    for count in map_units(functools.partial(unit_addresses, recipe, output), units, recipe.run):
        total += count
        progress.advance(1)
        progress.show(total)
    output.clear(_URLS)
    parts = []
    for number, frame in enumerate(_cut(output, total, size)):
        data = _parquet(frame.select("url"))
        part = Part(number, frame.height, frame["hash"][0], hashlib.sha256(data).hexdigest())
        output.write(f"{_URLS}/{part.name}.parquet", data)
        parts.append(part)
    output.clear(_FOUND)
    output.write(_LIST, seal({"revision": revision, "parts": [asdict(part) for part in parts]}))
    return parts


def unit_addresses(recipe: IngestRecipe, output: Folder, unit: Unit) -> int:
    """Writes the distinct addresses of a unit's images, sorted; their number."""
    urls: set[str] = set()
    for item in StretchReader(SOURCES[recipe.source], unit.stretch):
        draft = read_draft(recipe, item)
        if not isinstance(draft, Rejected):
            urls.update(image.source for image in images_of(draft) if isinstance(image.source, str))
    found = sorted((_hash(url), url) for url in urls if is_web_address(url))
    frame = pl.DataFrame(found, {"hash": pl.UInt64, "url": pl.String}, orient="row")
    output.write(f"{_FOUND}/{unit.number:08d}.parquet", _parquet(frame))
    return len(found)


def is_web_address(address: str) -> bool:
    """Whether it can be asked for: http or https, and text."""
    try:
        return address.lower().startswith(("http://", "https://")) and bool(address.encode())
    except UnicodeEncodeError:  # half a character
        return False


def fetch(output: Folder, options: DownloadOptions, threads: int, part: Part) -> Receipt:
    """What came of a part. Downloads it, unless that was done before."""
    asked = options.model_dump(mode="json")
    held = _held_receipt(output, part, asked)
    if held is not None:
        return held
    scratch = output.local_path(PARTS) if output.is_local else None
    if scratch is not None:
        scratch.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f"{part.name}-", dir=scratch) as name:
        folder = Path(name).resolve()
        (folder / "urls.parquet").write_bytes(output.read(f"{_URLS}/{part.name}.parquet"))
        _run(folder, options, threads, part)
        made = {path.suffix: path for path in (folder / "images").iterdir() if path.suffix in (".tar", ".parquet")}
        made["_stats.json"] = next((folder / "images").glob("*_stats.json"), folder / "none")
        side = pl.read_parquet(made[".parquet"], columns=["url", "status", "error_message"])
        for ending, path in made.items():
            if path.exists():
                with path.open("rb") as source, output.create(f"{_IMAGES}/{part.name}{ending}") as target:
                    shutil.copyfileobj(source, target, 1 << 20)
        failures = Counter(kind_of(status, message) for _, status, message in _failed(side))
        size, downloaded = made[".tar"].stat().st_size, side.height - failures.total()
    receipt = Receipt(part.name, part.sha256, asked, size, downloaded, dict(sorted(failures.items())))
    output.write(f"{_RECEIPTS}/{part.name}.json", seal(asdict(receipt)))
    return receipt


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


def kind_of(status: str, message: str) -> str:
    """One word for why an image could not be had, to count by."""
    if status == "failed_to_resize":
        return "not_an_image"
    if error := re.search(r"HTTP Error (\d{3})", message):
        return f"http_{error[1]}"
    return next((kind for pattern, kind in _KINDS if re.search(pattern, message)), "no_answer")


class DownloadedStore(ShardStore):
    """The shards that were downloaded. Their table is made in this process: what Ray hands over can't be numbered."""

    def prepare(self, output: Folder, run: RunOptions) -> None:
        """See `ImageStore`."""
        super().prepare(output, run.model_copy(update={"workers": 1, "address": None}))


class Losses:
    """The addresses that could not be had. Stands last among the stores: it has no image, but says why."""

    def __init__(self, output: Folder, parts: list[Part], receipts: list[Receipt]) -> None:
        self._output, self._parts = output, parts
        self._firsts = [part.first for part in parts]
        self._reasons: dict[str, dict[str, str]] = {}  # of the parts that were asked last: address -> reason
        state = json.dumps([asdict(receipt) for receipt in receipts], sort_keys=True)
        self.revision = InputFile(
            path=output.path(_SUMMARY), size=len(state), sha256=hashlib.sha256(state.encode()).hexdigest()
        )

    def prepare(self, output: Folder, run: RunOptions) -> None:
        """Nothing."""

    def get(self, address: str) -> bytes | None:
        """Raises `Rejected`, always."""
        reason = "no http or https address"
        if is_web_address(address) and self._parts:
            part = self._parts[max(0, bisect_right(self._firsts, _hash(address)) - 1)]
            reason = self._reasons_of(part.name).get(address, "downloaded, but none that its shard has whole")
        raise Rejected(Reason.LOST_IMAGE, f"{address[:200]}: {reason}")

    def _reasons_of(self, part: str) -> dict[str, str]:
        if part not in self._reasons:
            if len(self._reasons) >= PARTS_IN_MEMORY:
                self._reasons.pop(next(iter(self._reasons)))
            side = pl.read_parquet(io.BytesIO(self._output.read(f"{_IMAGES}/{part}.parquet")))
            self._reasons[part] = {url: f"{kind_of(status, why)}: {why[:200]}" for url, status, why in _failed(side)}
        return self._reasons[part]


def _run(folder: Path, options: DownloadOptions, threads: int, part: Part) -> None:
    """img2dataset over `urls.parquet` in the folder, into `images/`: a tar and a Parquet file are there in the end."""
    (folder / "images").mkdir()
    job = {
        "allow_hosts": options.allow_hosts,
        "max_bytes": options.max_bytes,
        "answer_seconds": options.answer_seconds,
        "deadline": time.time() + options.deadline_seconds,
        "img2dataset": {
            "url_list": str(folder / "urls.parquet"),
            "output_folder": str(folder / "images"),
            "input_format": "parquet",
            "url_col": "url",
            "output_format": "webdataset",
            "image_size": options.image_size,
            "resize_mode": "keep_ratio_largest",
            "resize_only_if_bigger": True,
            "encode_quality": options.encode_quality,
            "retries": options.retries,
            "timeout": options.timeout,
            "processes_count": 1,
            "thread_count": min(threads, part.urls),
            "number_sample_per_shard": part.urls,
            "oom_shard_count": 8,
            "compute_hash": "sha256",
        },
    }
    (folder / "job.json").write_text(json.dumps(job))
    variables = {name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ}
    variables |= {"HOME": str(folder), "TMPDIR": str(folder), "OPENCV_IO_MAX_IMAGE_PIXELS": str(options.max_pixels)}
    command: list[str | Path] = [python_of("img2dataset"), "-I", _RUNNER, folder / "job.json"]
    log = folder / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=variables,
            stdin=subprocess.PIPE,  # it ends when this does
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        is_late = False
        try:
            process.wait(options.deadline_seconds + GRACE)
        except subprocess.TimeoutExpired:
            is_late = True
        finally:
            with contextlib.suppress(ProcessLookupError):  # its own processes as well, however it ended
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    if is_late:
        _salvage(folder)
    elif not list((folder / "images").glob("*_stats.json")):
        said = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
        raise ShardloomError(f"img2dataset failed ({said[-1][:200] if said else process.returncode}): run again")


def _salvage(folder: Path) -> None:
    """Makes a shard of what a killed img2dataset had by then; all else is late."""
    begun = next((folder / "images").glob("*.tar"), None)
    had: set[str] = set()
    with (folder / "whole.tar").open("wb") as target:
        writer = TarWriter(target)
        for url, members in _sound(begun) if begun else ():
            had.add(url)
            for name, data in members.items():
                writer.add(name, data)
        writer.close()
    shutil.rmtree(folder / "images")
    (folder / "images").mkdir()
    (folder / "whole.tar").rename(folder / "images" / "00000000.tar")
    late = ~pl.col("url").is_in(list(had))
    pl.read_parquet(folder / "urls.parquet").with_columns(
        status=pl.when(late).then(pl.lit("failed_to_download")).otherwise(pl.lit("success")),
        error_message=pl.when(late).then(pl.lit("deadline")),
    ).write_parquet(folder / "images" / "00000000.parquet")


def _sound(tar: Path) -> Iterator[tuple[str, dict[str, bytes]]]:
    with tar.open("rb") as file:
        for sample in TarReader(file, hashing=False):
            with contextlib.suppress(Rejected):
                if url := read_sample(sample).url:
                    yield url, {f"{sample.key}.{ending}": member.data for ending, member in sample.members.items()}


def _failed(side: pl.DataFrame) -> Iterator[tuple[str, str, str]]:
    rows = side.filter(pl.col("status") != "success").select("url", "status", pl.col("error_message").fill_null(""))
    return rows.iter_rows()


def _held_receipt(output: Folder, part: Part, asked: dict[str, object]) -> Receipt | None:
    """Of an earlier run, if it is of these addresses and options, and its files are whole."""
    name = f"{_RECEIPTS}/{part.name}.json"
    if not output.exists(name):
        return None
    try:
        receipt = Receipt(**unseal(output.read(name)))
        is_same = replace(receipt, urls_sha256=part.sha256, options=asked) == receipt
        is_whole = output.size(f"{_IMAGES}/{part.name}.tar") == receipt.tar_size
        return receipt if is_same and is_whole and output.exists(f"{_IMAGES}/{part.name}.parquet") else None
    except (ValueError, TypeError, ShardloomError):
        return None


def _cut(output: Folder, total: int, size: int) -> Iterator[pl.DataFrame]:
    """All addresses, each once, by their hashes, in frames of at most `size`; a share of the hashes at a time."""
    files = output.names(_FOUND)
    shares = total // SORTED_AT_ONCE + 1
    bounds = [(share << 64) // shares for share in range(shares + 1)]
    for first, end in itertools.pairwise(bounds):
        inside = pl.col("hash").is_between(pl.lit(first, pl.UInt64), pl.lit(end - 1, pl.UInt64))
        frames = (pl.read_parquet(io.BytesIO(output.read(f"{_FOUND}/{name}"))) for name in files)
        found = [frame.filter(inside) for frame in frames]
        if found:
            yield from pl.concat(found).unique().sort("hash", "url").iter_slices(size)


def _parquet(frame: pl.DataFrame) -> bytes:
    sink = io.BytesIO()
    frame.write_parquet(sink)
    return sink.getvalue()


def _hash(address: str) -> int:
    return int.from_bytes(hashlib.blake2b(address.encode(), digest_size=8).digest(), "big")
