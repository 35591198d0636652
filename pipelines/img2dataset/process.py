"""Runs img2dataset over one list of URLs, in an environment and a process of its own, until a deadline.

`runner.py`, beside this file, decides which hosts may be contacted, and for how long. If something hangs nevertheless
(a name lookup, a decoder), this module kills the process a minute after the deadline and keeps the images downloaded so
far.
"""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import polars as pl

from pipelines.environments.python import ensure_environment
from pipelines.img2dataset.failures import DEADLINE
from pipelines.recipes.download import DownloadOptions
from schemas.errors import ShardloomError
from schemas.layouts.datacomp import read_metadata, read_sample
from schemas.output_set.layout import PARTS
from schemas.records.quarantine import Rejected
from schemas.storage.folder import Folder
from schemas.tar.reader import TarReader, TarSample
from schemas.tar.writer import TarWriter

URLS = "urls.parquet"
TALLY = "asked"  # file with the number of URLs requested so far
IMAGE_SECONDS = 20  # CPU time; an image of 64 million pixels needs up to ten seconds to decode, rotate and resize
GRACE_SECONDS = 60.0  # seconds from the deadline to the kill; img2dataset normally exits when its last connection ends

_IMAGES = "images"
_RUNNER = Path(__file__).with_name("runner.py")
_KEPT_VARIABLES = ("PATH", "LANG", "SSL_CERT_FILE", "SSL_CERT_DIR")  # no credentials: the process parses untrusted data


@contextlib.contextmanager
def make_scratch_folder(output: Folder, name: str) -> Iterator[Path]:
    """Makes a temporary folder for one run of img2dataset, on the output's disk if that is local."""
    parts = output.get_local_path(PARTS) if output.is_local else None
    if parts is not None:
        parts.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f"{name}-", dir=parts) as path:
        yield Path(path).resolve()


def count_requested(output: Folder) -> int:
    """Returns the number of URLs requested so far for parts in progress; 0 if the output is not on a local disk."""
    if not output.is_local:
        return 0
    return sum(map(_read_count, output.get_local_path(PARTS).glob(f"*/{TALLY}")))


def _read_count(file: Path) -> int:
    try:
        return int(file.read_text())
    except (OSError, ValueError):  # it is being written, or its run has just ended
        return 0


def download_images(
    folder: Path, urls: int, options: DownloadOptions, threads: int, extra_options: Mapping[str, object] | None = None
) -> dict[str, Path]:
    """Downloads the URLs in the folder's `urls.parquet` with img2dataset. Returns its files by ending.

    `.tar` holds the images in the order of arrival, `.parquet` a row for each URL, and `_stats.json` the counts; a
    killed run has no `_stats.json`. A sample's key is the position of its URL in the list. `extra_options` holds
    further arguments of img2dataset, such as the columns to keep. Raises `ShardloomError` if img2dataset itself failed.
    """
    images = folder / _IMAGES
    images.mkdir()
    job = _build_job(folder, urls, options, threads)
    (folder / "job.json").write_text(json.dumps(job | {"img2dataset": job["img2dataset"] | (extra_options or {})}))
    if not _run_job(folder, options):
        _salvage(folder)
    elif not list(images.glob("*_stats.json")):
        said = [line for line in (folder / "log").read_text(errors="replace").splitlines() if line.strip()]
        reason = said[-1][:200] if said else "without a message"
        raise ShardloomError(f"img2dataset failed ({reason}): rerun the command")
    endings = (".tar", ".parquet", "_stats.json")
    return {ending: path for ending in endings for path in images.glob(f"*{ending}")}


def _build_job(folder: Path, urls: int, options: DownloadOptions, threads: int) -> dict[str, Any]:
    return {
        "allow_hosts": options.allow_hosts,
        "max_bytes": options.max_bytes,
        "answer_seconds": options.answer_seconds,
        "deadline": time.time() + options.deadline_seconds,
        "image_seconds": IMAGE_SECONDS,
        "tally": str(folder / TALLY),
        "img2dataset": {
            "url_list": str(folder / URLS),
            "output_folder": str(folder / _IMAGES),
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
            "thread_count": min(threads, urls),
            "number_sample_per_shard": urls,
            "oom_shard_count": 8,
            "compute_hash": "sha256",
        },
    }


def _run_job(folder: Path, options: DownloadOptions) -> bool:
    """Runs the job in the folder. Returns False if it did not end in time and was killed."""
    variables = {name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ}
    variables |= {"HOME": str(folder), "TMPDIR": str(folder), "OPENCV_IO_MAX_IMAGE_PIXELS": str(options.max_pixels)}
    with (folder / "log").open("wb") as output:
        process = subprocess.Popen(
            [ensure_environment("img2dataset"), "-I", _RUNNER, folder / "job.json"],
            cwd=folder,
            env=variables,
            stdin=subprocess.PIPE,  # the runner exits when this pipe closes
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            process.wait(options.deadline_seconds + GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            return False
        finally:
            with contextlib.suppress(ProcessLookupError):  # kills its child processes too, however it ended
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    return True


def _salvage(folder: Path) -> None:
    """Makes a shard from the complete samples of a killed img2dataset; all other URLs get the error `deadline`."""
    images = folder / _IMAGES
    partial_tar = next(images.glob("*.tar"), None)
    downloaded: set[int] = set()
    with (folder / "whole.tar").open("wb") as target:
        writer = TarWriter(target)
        for sample in _iterate_intact_samples(partial_tar) if partial_tar else ():
            downloaded.add(int(sample.key))
            for ending, member in sample.members.items():
                writer.add(f"{sample.key}.{ending}", member.data)
        writer.close()
    shutil.rmtree(images)
    images.mkdir()
    (folder / "whole.tar").rename(images / "00000000.tar")
    rows = pl.read_parquet(folder / URLS)  # noqa: TID251  Shardloom's own file
    is_late = [number not in downloaded for number in range(rows.height)]
    rows.with_columns(
        key=pl.Series([str(number) for number in range(rows.height)]),
        status=pl.Series(["failed_to_download" if late else "success" for late in is_late]),
        error_message=pl.Series([DEADLINE if late else None for late in is_late], dtype=pl.String),
    ).write_parquet(images / "00000000.parquet")


def _iterate_intact_samples(tar: Path) -> Iterator[TarSample]:
    with tar.open("rb") as file:
        for sample in TarReader(file, hashing=False):
            with contextlib.suppress(Rejected):
                read_metadata(sample)  # img2dataset writes a .json member for every sample
                read_sample(sample)
                yield sample
