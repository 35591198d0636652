"""Packs drawn pictures as image shards in the layout of img2dataset, with a file of ground truth beside them.

The layout is that of DataComp downloads: `00000000.tar` with {key}.jpg, {key}.json and {key}.txt, `00000000.parquet`
with a row for every attempted download, including failures, and `00000000_stats.json`.
"""

import hashlib
import io
import json
import tarfile
from collections import Counter
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from curation.demo_detector.vocabulary import LABELS
from pipelines.demo.pictures import SCENE, Picture, draw_picture
from schemas.storage.folder import Folder

KEYS_PER_SHARD = 10_000  # DataComp's numbering of keys, independent of the rows in a shard

# Indexes of pictures with typical faults of the web: all below 12, so that the smallest demo has them.
ERROR_PAGE_INDEX, TRUNCATED_INDEX, REPEAT_INDEX = 3, 7, 11
REPEATED_INDEX = 2  # the picture whose bytes REPEAT repeats, under another URL and caption

ERROR_PAGE = b"<!DOCTYPE html>\n<html><head><title>404</title></head><body><h1>Page not found</h1></body></html>\n"

FAIL_EVERY = 8  # pictures between two failed downloads
DOWNLOAD_FAILURES = [
    ("failed_to_download", "HTTP Error 404: Not Found"),
    ("failed_to_download", "HTTP Error 403: Forbidden"),
    ("failed_to_download", "<urlopen error [Errno -2] Name or service not known>"),
    ("failed_to_resize", "Image decoding error"),
]

SIDE_SCHEMA = pa.schema(
    [
        ("uid", pa.string()),
        ("face_bboxes", pa.list_(pa.list_(pa.float64()))),
        ("caption", pa.string()),
        ("url", pa.string()),
        ("key", pa.string()),
        ("status", pa.string()),
        ("error_message", pa.string()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("original_width", pa.int32()),
        ("original_height", pa.int32()),
        ("exif", pa.string()),
        ("sha256", pa.string()),
    ]
)
"""Schema of the side Parquet; a sample's .json has the same fields in the same order."""

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class SimulatedDownload:
    """Simulates the response for one picture: the bytes, their fault if any, and the picture that they show."""

    picture: Picture
    data: bytes
    fault: str | None
    same_bytes_as: int | None


def write_shards(folder: Folder, count: int, per_shard: int, seed: int = 0) -> list[str]:
    """Draws `count` pictures and writes them as shards of `per_shard`, with `truth.jsonl`; returns the tars' names.

    The same arguments give the same bytes, and picture `index` does not depend on `count`. Rows of failed downloads are
    not included in `count`. Raises `ValueError` if a number is not positive or a shard exceeds 5,000 pictures.
    """
    if not (count > 0 and 0 < per_shard <= KEYS_PER_SHARD // 2):
        raise ValueError(f"{count} pictures in shards of {per_shard}: both must be positive, a shard at most 5,000")
    names: list[str] = []
    truths: list[Row] = []
    for shard, start in enumerate(range(0, count, per_shard)):
        name, rows, members = f"{shard:08d}", list[Row](), list[tuple[str, bytes]]()
        for index in range(start, min(start + per_shard, count)):
            key = f"{shard * KEYS_PER_SHARD + len(rows):012d}"
            download = simulate_download(seed, index)
            rows.append(build_row(seed, index, key, download))
            members.append((key, download.data))
            truths.append({"file": f"{name}.tar/{key}.jpg", **build_truth(seed, index, key, download)})
            if index % FAIL_EVERY == FAIL_EVERY - 1:
                rows.append(build_failed_row(seed, index, f"{shard * KEYS_PER_SHARD + len(rows):012d}"))
        folder.write(f"{name}.tar", build_tar(members, {row["key"]: row for row in rows}))
        folder.write(f"{name}.parquet", build_parquet(rows))
        folder.write(f"{name}_stats.json", build_stats(rows))
        names.append(f"{name}.tar")
    folder.write("truth.jsonl", "".join(json.dumps(truth, ensure_ascii=False) + "\n" for truth in truths).encode())
    return names


def simulate_download(seed: int, index: int) -> SimulatedDownload:
    """Returns the picture as a crawler would receive it: most intact, a few damaged."""
    picture = draw_picture(seed, index)
    if index == ERROR_PAGE_INDEX:
        return SimulatedDownload(picture, ERROR_PAGE, "html", None)
    if index == TRUNCATED_INDEX:
        return SimulatedDownload(picture, picture.jpeg[: len(picture.jpeg) * 2 // 5], "truncated", None)
    if index == REPEAT_INDEX:
        first = draw_picture(seed, REPEATED_INDEX)
        return SimulatedDownload(replace(first, caption=picture.caption), first.jpeg, None, REPEATED_INDEX)
    return SimulatedDownload(picture, picture.jpeg, None, None)


def make_uid(seed: int, name: str) -> str:
    """Returns a uid of 32 hex digits, like DataComp's."""
    return hashlib.md5(f"{seed}/{name}".encode(), usedforsecurity=False).hexdigest()


def build_row(seed: int, index: int, key: str, download: SimulatedDownload) -> Row:
    """Builds the row of a downloaded picture. The sizes are those of the intact picture, also for a damaged file."""
    picture = download.picture
    uid = make_uid(seed, str(index))
    return {
        "uid": uid,
        "face_bboxes": [],
        "caption": picture.caption,
        "url": f"https://images.example.org/{seed}/{uid[:2]}/{uid}.jpg",
        "key": key,
        "status": "success",
        "error_message": None,
        "width": picture.width,
        "height": picture.height,
        "original_width": picture.width,
        "original_height": picture.height,
        "exif": "{}",
        "sha256": hashlib.sha256(download.data).hexdigest(),
    }


def build_failed_row(seed: int, index: int, key: str) -> Row:
    """Builds the row of the failed download after picture `index`: only the requested fields are set."""
    uid = make_uid(seed, f"failed/{index}")
    status, message = DOWNLOAD_FAILURES[index // FAIL_EVERY % len(DOWNLOAD_FAILURES)]
    asked = {"uid": uid, "face_bboxes": [], "caption": "", "url": f"https://gone.example.org/{uid}.jpg", "key": key}
    return {**dict.fromkeys(SIDE_SCHEMA.names), **asked, "status": status, "error_message": message}


def build_truth(seed: int, index: int, key: str, download: SimulatedDownload) -> Row:
    """Builds the ground truth of a stored image: text lines and objects, in pixels; none if it can't be decoded."""
    width, height = download.picture.width, download.picture.height
    items = []
    for line in download.picture.lines if download.fault is None else ():
        polygon = [round(part * side, 2) for part, side in zip(line.polygon, (width, height) * 4, strict=True)]
        bbox = [round(part * side, 2) for part, side in zip(line.box, (width, height) * 2, strict=True)]
        items.append({"text": line.text, "polygon": polygon, "bbox": bbox})
    objects = []
    for label, box in download.picture.objects if download.fault is None else ():
        bbox = [round(part * side, 2) for part, side in zip(box, (width, height) * 2, strict=True)]
        objects.append({"label": label, "bbox_xyxy": bbox})
    return {
        "key": key,
        "uid": make_uid(seed, str(index)),
        "width": width,
        "height": height,
        "kind": download.picture.kind,
        "fault": download.fault,
        "same_bytes_as_uid": None if download.same_bytes_as is None else make_uid(seed, str(download.same_bytes_as)),
        "complete": True,
        "items": items,
        "objects": objects,
        "exhaustive_for": list(LABELS)
        if download.picture.kind == SCENE
        else [],  # a poster's landscape may contain a sun
        "source": f"drawn with seed {seed}, index {index}",
    }


def build_tar(images: list[tuple[str, bytes]], rows: dict[str, Row]) -> bytes:
    """Builds the tar: three members per sample, with owner and time 0, so that equal samples give equal bytes."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for key, image in images:
            described = json.dumps(rows[key], indent=4).encode()
            for ending, data in (("jpg", image), ("json", described), ("txt", rows[key]["caption"].encode())):
                member = tarfile.TarInfo(f"{key}.{ending}")
                member.size, member.mode = len(data), 0o444
                tar.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


def build_parquet(rows: list[Row]) -> bytes:
    """Builds the side Parquet of all rows, including failures."""
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows, schema=SIDE_SCHEMA), buffer)
    return buffer.getvalue()


def build_stats(rows: list[Row]) -> bytes:
    """Builds img2dataset's counts, with all times 0."""
    statuses = Counter(row["status"] for row in rows)
    stats = {
        "count": len(rows),
        "successes": statuses["success"],
        "failed_to_download": statuses["failed_to_download"],
        "failed_to_resize": statuses["failed_to_resize"],
        "duration": 0.0,
        "start_time": 0.0,
        "end_time": 0.0,
        "status_dict": dict(Counter(row["error_message"] or "success" for row in rows)),
    }
    return json.dumps(stats, indent=4).encode()
