"""Runs img2dataset over one file of addresses, in an environment and a process of its own, until a deadline.

Who may be connected to, and for how long, is the business of `runner.py` beside this file. What can hang all the
same (a name that is looked up for ever, a decoder) is killed a minute after the deadline, and the images that were had
by then are kept.
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

from pipelines.environments.python import python_of
from pipelines.img2dataset.failures import DEADLINE
from pipelines.recipes.download import DownloadOptions
from schemas.errors import ShardloomError
from schemas.layouts.datacomp import read_metadata, read_sample
from schemas.output_set.layout import PARTS
from schemas.records.quarantine import Rejected
from schemas.storage.folder import Folder
from schemas.tar.reader import TarReader, TarSample
from schemas.tar.writer import TarWriter
from schemas.web_address import is_web_address as is_web_address

URLS = "urls.parquet"
TALLY = "asked"  # file of the number of addresses that were asked for so far
IMAGE_SECONDS = 20  # of a processor: an image of 64 million pixels takes up to ten to decode, turn and make smaller
GRACE = 60.0  # seconds after the deadline until img2dataset is killed: it ends by itself once all connections have

_IMAGES = "images"
_RUNNER = Path(__file__).with_name("runner.py")
_KEPT_VARIABLES = ("PATH", "LANG", "SSL_CERT_FILE", "SSL_CERT_DIR")  # no keys: the process reads what strangers send


@contextlib.contextmanager
def scratch_folder(output: Folder, name: str) -> Iterator[Path]:
    """A folder for one run of img2dataset; on the disk of the output, if that is local."""
    parts = output.local_path(PARTS) if output.is_local else None
    if parts is not None:
        parts.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f"{name}-", dir=parts) as path:
        yield Path(path).resolve()


def asked_so_far(output: Folder) -> int:
    """Addresses that runs at work have asked for, as far as their folders are on this machine."""
    if not output.is_local:
        return 0
    return sum(map(_number, output.local_path(PARTS).glob(f"*/{TALLY}")))


def _number(file: Path) -> int:
    try:
        return int(file.read_text())
    except (OSError, ValueError):  # it is being written, or its run has ended
        return 0


def images_of_addresses(
    folder: Path, urls: int, options: DownloadOptions, threads: int, more: Mapping[str, object] | None = None
) -> dict[str, Path]:
    """What img2dataset makes of the addresses in the folder's `urls.parquet`, by the files' endings.

    `.tar` has the images, in the order in which they came, `.parquet` a row for each address, `_stats.json`, unless it
    was killed, its counts. A key is the number of the address in the list. `more` are arguments of its own: which
    columns of the list it should keep, and how it should use them. Raises `ShardloomError`: it failed as a whole.
    """
    images = folder / _IMAGES
    images.mkdir()
    job = _job(folder, urls, options, threads)
    (folder / "job.json").write_text(json.dumps(job | {"img2dataset": job["img2dataset"] | (more or {})}))
    if not _has_ended(folder, options):
        _salvage(folder)
    elif not list(images.glob("*_stats.json")):
        said = [line for line in (folder / "log").read_text(errors="replace").splitlines() if line.strip()]
        raise ShardloomError(f"img2dataset failed ({said[-1][:200] if said else 'without a word'}): run again")
    endings = (".tar", ".parquet", "_stats.json")
    return {ending: path for ending in endings for path in images.glob(f"*{ending}")}


def _job(folder: Path, urls: int, options: DownloadOptions, threads: int) -> dict[str, Any]:
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


def _has_ended(folder: Path, options: DownloadOptions) -> bool:
    """Runs the job in the folder. False: it was killed, because it had not ended in time."""
    variables = {name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ}
    variables |= {"HOME": str(folder), "TMPDIR": str(folder), "OPENCV_IO_MAX_IMAGE_PIXELS": str(options.max_pixels)}
    with (folder / "log").open("wb") as output:
        process = subprocess.Popen(
            [python_of("img2dataset"), "-I", _RUNNER, folder / "job.json"],
            cwd=folder,
            env=variables,
            stdin=subprocess.PIPE,  # it ends when this does
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            process.wait(options.deadline_seconds + GRACE)
        except subprocess.TimeoutExpired:
            return False
        finally:
            with contextlib.suppress(ProcessLookupError):  # its own processes as well, however it ended
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    return True


def _salvage(folder: Path) -> None:
    """Makes a shard of what a killed img2dataset had by then; all else is late."""
    images = folder / _IMAGES
    begun = next(images.glob("*.tar"), None)
    had: set[int] = set()
    with (folder / "whole.tar").open("wb") as target:
        writer = TarWriter(target)
        for sample in _sound(begun) if begun else ():
            had.add(int(sample.key))
            for ending, member in sample.members.items():
                writer.add(f"{sample.key}.{ending}", member.data)
        writer.close()
    shutil.rmtree(images)
    images.mkdir()
    (folder / "whole.tar").rename(images / "00000000.tar")
    asked = pl.read_parquet(folder / URLS)  # noqa: TID251  made here
    is_late = [number not in had for number in range(asked.height)]
    asked.with_columns(
        key=pl.Series([str(number) for number in range(asked.height)]),
        status=pl.Series(["failed_to_download" if late else "success" for late in is_late]),
        error_message=pl.Series([DEADLINE if late else None for late in is_late], dtype=pl.String),
    ).write_parquet(images / "00000000.parquet")


def _sound(tar: Path) -> Iterator[TarSample]:
    with tar.open("rb") as file:
        for sample in TarReader(file, hashing=False):
            with contextlib.suppress(Rejected):
                read_metadata(sample)  # which a shard of img2dataset always has
                read_sample(sample)
                yield sample
