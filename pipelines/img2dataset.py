"""Runs img2dataset over one file of addresses, in an environment and a process of its own, until a deadline.

Who may be connected to, and for how long, is the business of `environments/run_img2dataset.py`. What can hang all the
same (a name that is looked up for ever, a decoder) is killed a minute after the deadline, and the images that were had
by then are kept.
"""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import polars as pl

from pipelines.environments.python import python_of
from pipelines.recipe import DownloadOptions
from schemas.datacomp import read_sample
from schemas.errors import ShardloomError
from schemas.quarantine import Rejected
from schemas.tar_reader import TarReader
from schemas.tar_writer import TarWriter

URLS = "urls.parquet"
GRACE = 60.0  # seconds after the deadline until img2dataset is killed: it ends by itself once all connections have

_IMAGES = "images"
_RUNNER = Path(__file__).parent / "environments" / "run_img2dataset.py"
_KEPT_VARIABLES = ("PATH", "LANG", "SSL_CERT_FILE", "SSL_CERT_DIR")  # no keys: the process reads what strangers send


def images_of_addresses(folder: Path, urls: int, options: DownloadOptions, threads: int) -> dict[str, Path]:
    """What img2dataset makes of the addresses in the folder's `urls.parquet`, by the files' endings.

    `.tar` has the images, `.parquet` a row for each address, `_stats.json`, unless it was killed, its counts. Raises
    `ShardloomError`: it failed as a whole.
    """
    images = folder / _IMAGES
    images.mkdir()
    (folder / "job.json").write_text(json.dumps(_job(folder, urls, options, threads)))
    if not _has_ended(folder, options):
        _salvage(folder)
    elif not list(images.glob("*_stats.json")):
        said = [line for line in (folder / "log").read_text(errors="replace").splitlines() if line.strip()]
        raise ShardloomError(f"img2dataset failed ({said[-1][:200] if said else 'without a word'}): run again")
    endings = (".tar", ".parquet", "_stats.json")
    return {ending: path for ending in endings for path in images.glob(f"*{ending}")}


def _job(folder: Path, urls: int, options: DownloadOptions, threads: int) -> dict[str, object]:
    return {
        "allow_hosts": options.allow_hosts,
        "max_bytes": options.max_bytes,
        "answer_seconds": options.answer_seconds,
        "deadline": time.time() + options.deadline_seconds,
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
    had: set[str] = set()
    with (folder / "whole.tar").open("wb") as target:
        writer = TarWriter(target)
        for url, members in _sound(begun) if begun else ():
            had.add(url)
            for name, data in members.items():
                writer.add(name, data)
        writer.close()
    shutil.rmtree(images)
    images.mkdir()
    (folder / "whole.tar").rename(images / "00000000.tar")
    late = ~pl.col("url").is_in(list(had))
    pl.read_parquet(folder / URLS).with_columns(
        status=pl.when(late).then(pl.lit("failed_to_download")).otherwise(pl.lit("success")),
        error_message=pl.when(late).then(pl.lit("deadline")),
    ).write_parquet(images / "00000000.parquet")


def _sound(tar: Path) -> Iterator[tuple[str, dict[str, bytes]]]:
    with tar.open("rb") as file:
        for sample in TarReader(file, hashing=False):
            with contextlib.suppress(Rejected):
                if url := read_sample(sample).url:
                    yield url, {f"{sample.key}.{ending}": member.data for ending, member in sample.members.items()}
