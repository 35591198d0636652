"""Metadata as DataComp has it, and a stand-in for img2dataset, whose environment takes minutes to make."""

import hashlib
import json
import random
import tarfile
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.download.rows import MetadataRow
from pipelines.recipes.download import DownloadOptions
from tests.conftest import jpeg


def uid_of(number: int) -> str:
    """The uid of a row."""
    return hashlib.md5(str(number).encode()).hexdigest()


def write_metadata(path: Path, urls: list[str | None], first: int = 0, **columns: list[Any]) -> str:
    """A file with these addresses; rows count from `first`. More columns take the place of those made up here."""
    count = len(urls)
    table = {
        "uid": [uid_of(number) for number in range(first, first + count)],
        "url": urls,
        "text": [f"caption of {number}" for number in range(first, first + count)],
        "original_width": [64] * count,
        "original_height": [48] * count,
        "clip_b32_similarity_score": [0.25] * count,
        "clip_l14_similarity_score": [0.2] * count,
        "face_bboxes": [[]] * count,
        "sha256": ["0" * 64] * count,
    }
    kinds = {
        "clip_b32_similarity_score": pa.float32(),
        "clip_l14_similarity_score": pa.float32(),
        "face_bboxes": pa.list_(pa.list_(pa.float64())),
        "url": pa.string(),
    }
    arrays = {name: pa.array(values, kinds.get(name)) for name, values in (table | columns).items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(arrays), path)
    return str(path)


class StandIn:
    """Answers in img2dataset's place. An address ends in what becomes of it: `7.jpg` is picture 7, `http_503` an error.

    Once it is mended all end well. Shards come in an order that is none.
    """

    def __init__(self, seed: int = 0) -> None:
        self.random = random.Random(seed)
        self.is_mended = False
        self.mended: set[str] = set()  # errors that no longer occur
        self.asked: list[str] = []  # addresses, in the order of the lists
        self.arguments: list[Mapping[str, object]] = []
        self.parts_left = 1 << 62  # then it is interrupted

    def __call__(
        self, folder: Path, urls: int, options: DownloadOptions, threads: int, more: Mapping[str, object]
    ) -> dict[str, Path]:
        """As `img2dataset.process.download_images`."""
        if self.parts_left == 0:
            raise KeyboardInterrupt
        self.parts_left -= 1
        rows = pl.read_parquet(folder / "urls.parquet").rows(named=True)
        assert len(rows) == urls
        self.asked += [row["url"] for row in rows]
        self.arguments.append(more)
        made = {ending: folder / f"made{ending}" for ending in (".tar", ".parquet")}
        order = list(enumerate(rows))
        self.random.shuffle(order)
        side = []
        with tarfile.open(made[".tar"], "w") as tar:
            for number, row in order:
                end = row["url"].rpartition("/")[2]
                known = {name: row[name] for name in ("uid", "face_bboxes", "caption", "url") if name in row}
                details = known | {"key": f"{number:09d}", "status": "success", "error_message": None}
                if end.endswith(".jpg") or self.is_mended or end in self.mended:
                    image = jpeg(int(end.removesuffix(".jpg")) if end.endswith(".jpg") else 1)
                    details |= {"width": 64, "height": 48, "original_width": 64, "original_height": 48, "exif": "{}"}
                    details["sha256"] = hashlib.sha256(image).hexdigest()
                    caption = (row["caption"] or "").encode()
                    for ending, data in ("jpg", image), ("json", json.dumps(details).encode()), ("txt", caption):
                        info = tarfile.TarInfo(f"{number:09d}.{ending}")
                        info.size, info.mtime = len(data), self.random.randrange(1 << 30)
                        tar.addfile(info, BytesIO(data))
                elif end == "skipped":
                    continue
                elif end.startswith("http_"):
                    details |= {"status": "failed_to_download", "error_message": f"HTTP Error {end[5:]}: No"}
                elif end == "refused":
                    details |= {"status": "failed_to_download", "error_message": "refused private address 10.0.0.7"}
                else:
                    details |= {"status": "failed_to_resize", "error_message": "Image decoding\nerror"}
                side.append({name: details[name] for name in ("key", "status", "error_message")})
        pl.DataFrame(side, schema=dict.fromkeys(("key", "status", "error_message"), pl.String)).write_parquet(
            made[".parquet"]
        )
        return made


def faults_of(rows: list[MetadataRow]) -> list[str | None]:
    """Why each row is not asked for, in a word."""
    return [row.fault[0] if row.fault else None for row in rows]
