"""Defines the img2dataset / DataComp shard layout (docs/formats.md §4).

A sample is `{key}.jpg`, `{key}.json` and `{key}.txt`. Beside `00000000.tar` there are `00000000.parquet`, which also
lists the rows that failed to download, and `00000000_stats.json`. Shards with only `{key}.jpg` and `{key}.txt`, which
open_clip accepts too, are also read: their samples have no ids. Neither has a sample with a .txt whose .json is not an
object.
"""

import json
import re
from collections.abc import Set
from dataclasses import dataclass
from typing import Any, BinaryIO

import pyarrow as pa

from schemas.records.quarantine import Reason, Rejected
from schemas.records.training_text import to_training_text
from schemas.records.uid import to_uid
from schemas.storage.parquet import read_parquet_schema, read_table
from schemas.tar.reader import Member, TarSample

HEIC_EXTENSIONS = ("heic", "heif", "hif", "heics")
# The extensions of all decoded formats, the most common first, and of HEIC, so that the error can name it.
IMAGE_EXTENSIONS = (
    *("jpg", "jpeg", "png", "webp", "gif", "bmp", "tif", "tiff", "avif"),
    *("jpe", "jfif", "pjpeg", "pjp", "apng", "dib", "avifs", "img", "image"),
    *("jp2", "j2k", "jpx", "jpf", "j2c", "jpc", "jpm", "jpeg2000", "ppm", "pgm", "pbm", "pnm"),
    *HEIC_EXTENSIONS,
)
_HEIC = re.compile(rb"....ftyp(?:hei|hev|mif1|msf1)", re.DOTALL)
MAX_METADATA_BYTES = 4 << 20  # bytes; the real ones have under 10 KiB, EXIF included


@dataclass(frozen=True, slots=True)
class ImageSample:
    """Holds a captioned image as a shard stores it. `metadata` is its parsed .json member, unchanged."""

    key: str
    uid: str | None
    url: str | None
    caption: str  # empty if there is none
    extension: str
    image: Member
    metadata: dict[str, Any]
    has_unreadable_metadata: bool = False  # the .json member is not an object: ids are null, and the caller counts it


def read_sample(sample: TarSample) -> ImageSample:
    """Reads a sample's image, ids and caption.

    Raises `Rejected` with the sample's own fault, `missing_image`, `missing_metadata`, `unsupported_format` for HEIC,
    or `not_text` for its caption.
    """
    extension, image, metadata = read_image(sample)
    if extension in HEIC_EXTENSIONS and _HEIC.match(image.data):
        raise Rejected(Reason.UNSUPPORTED_FORMAT, f"HEIC (.{extension}): convert such images first")
    text = sample.members.get("txt")
    try:
        caption = to_training_text(metadata.get("caption") if text is None else text.data)
    except Rejected as fault:
        raise Rejected(fault.reason, f"the caption: {fault.detail}") from None
    return ImageSample(
        key=sample.key,
        uid=to_uid(metadata.get("uid")),
        url=_to_text(metadata.get("url")),
        caption=caption or "",
        extension=extension,
        image=image,
        metadata=metadata,
        has_unreadable_metadata=not metadata and _has_unreadable_metadata(sample),
    )


def read_image(sample: TarSample) -> tuple[str, Member, dict[str, Any]]:
    """Reads the extension and the member of a sample's image, and its .json: empty if there is only a sound .txt.

    Raises `Rejected` with the sample's own fault, `missing_image` or `missing_metadata`.
    """
    if sample.fault is not None:
        raise sample.fault
    extension = next((ending for ending in IMAGE_EXTENSIONS if ending in sample.members), None)
    if extension is None:
        raise Rejected(Reason.MISSING_IMAGE, f"members: {', '.join(sorted(sample.members)) or 'none'}")
    try:
        metadata = read_metadata(sample)
    except Rejected:
        if "txt" not in sample.members:
            raise
        metadata = {}
    return extension, sample.members[extension], metadata


def read_metadata(sample: TarSample) -> dict[str, Any]:
    """Parses the .json member as an object. Raises `Rejected(missing_metadata)`."""
    member = sample.members.get("json")
    if member is None:
        raise Rejected(Reason.MISSING_METADATA, "no .json member")
    if len(member.data) > MAX_METADATA_BYTES:
        raise Rejected(Reason.MISSING_METADATA, f"the .json member has {len(member.data)} bytes")
    try:
        metadata = json.loads(member.data)
    except (ValueError, RecursionError) as error:
        raise Rejected(Reason.MISSING_METADATA, f"the .json member does not parse: {error}") from None
    if not isinstance(metadata, dict):
        raise Rejected(Reason.MISSING_METADATA, "the .json member is not an object")
    return metadata


def read_uid(sample: TarSample) -> str | None:
    """Returns the sample's uid if it can be read at all, so that a quarantined row can still be found by it."""
    try:
        return to_uid(read_metadata(sample).get("uid"))
    except Rejected:
        return None


def read_downloaded_keys(side_parquet: BinaryIO, there: Set[str] = frozenset()) -> list[str] | None:
    """Returns the keys that the side Parquet lists as downloaded; None if the file is not img2dataset's.

    If pandas has converted the keys to numbers, leading zeros are restored up to the longest of the keys that are
    `there`, except for numbers that are among these without zeros.
    """
    schema = read_parquet_schema(side_parquet, "it")
    if not {"key", "status"} <= set(schema.names):
        return None
    table = read_table(side_parquet, ["key", "status"], "it")
    pairs = zip(table["key"].to_pylist(), table["status"].to_pylist(), strict=True)
    keys = [key for key, status in pairs if status == "success"]
    width = max(map(len, there), default=0)
    plain = [(isinstance(key, str), to_uid(key) or str(key)) for key in keys]
    return [key if is_text or key in there else key.zfill(width) for is_text, key in plain]


def side_schema(has_boxes: bool) -> pa.Schema:
    """Returns the side Parquet's schema, whose columns are also the fields of each .json.

    `has_boxes` adds `face_bboxes`, which shards have whose faces were blurred.
    """
    boxes = [("face_bboxes", pa.list_(pa.list_(pa.float64())))] if has_boxes else []
    texts = [(name, pa.string()) for name in ("caption", "url", "key", "status", "error_message")]
    sizes = [(name, pa.int32()) for name in ("width", "height", "original_width", "original_height")]
    return pa.schema([("uid", pa.string()), *boxes, *texts, *sizes, ("exif", pa.string()), ("sha256", pa.string())])


def _has_unreadable_metadata(sample: TarSample) -> bool:
    try:
        read_metadata(sample)
    except Rejected:
        return "json" in sample.members
    return False


def _to_text(value: object) -> str | None:
    """Returns a string that Arrow can store (JSON may hold lone surrogates); None for other types."""
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else None
