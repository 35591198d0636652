"""A row that was left out, and why. Rows in = rows out + rows quarantined, always."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Self

import pyarrow as pa


class Reason(StrEnum):
    """Why a row was left out. The codes are stable: they are stored, counted and matched on."""

    # how the sample lies in its shard
    MISSING_IMAGE = "missing_image"  # no member that is an image
    MISSING_METADATA = "missing_metadata"  # no .json member, or one that is no JSON object
    DUPLICATE_KEY = "duplicate_key"  # the shard had this key before, or the sample has a member twice
    UNSAFE_MEMBER = "unsafe_member"  # a link, a device, or a name that leaves its folder
    INCOMPLETE = "incomplete"  # the shard ends, or stops making sense, inside this sample
    # its caption or another text to train on
    NOT_TEXT = "not_text"  # a list, an object, bytes that are not UTF-8, half of a surrogate pair
    # the image
    NOT_AN_IMAGE = "not_an_image"
    UNSUPPORTED_FORMAT = "unsupported_format"  # an image, of a kind that web data should not hold (PSD, EPS, ...)
    DECODE_ERROR = "decode_error"  # truncated or corrupt
    TOO_MANY_PIXELS = "too_many_pixels"
    # filters set in the recipe
    TOO_SMALL = "too_small"
    EXTREME_ASPECT = "extreme_aspect"
    REPEATED_IMAGE = "repeated_image"
    TOO_FEW_LINES = "too_few_lines"
    TOO_FEW_BOXES = "too_few_boxes"
    # running the engines
    ENGINE_ERROR = "engine_error"
    NO_TAGS = "no_tags"  # boxes were not looked for, because the tag engine had failed
    WORKER_KILLED = "worker_killed"  # the process that worked on this sample alone died, twice
    # joining images with captions
    NO_CAPTION = "no_caption"
    MISALIGNED = "misaligned"  # the caption was made from other bytes than the image's
    # reading published sets
    MALFORMED_ROW = "malformed_row"  # not laid out as its set is
    LOST_IMAGE = "lost_image"  # an image that its document or caption refers to is nowhere to be had
    # documents: filters set in the recipe
    EMPTY_DOCUMENT = "empty_document"  # neither text nor images are left
    TOO_FEW_IMAGES = "too_few_images"
    TOO_MANY_IMAGES = "too_many_images"
    TOO_SHORT = "too_short"  # its text
    TOO_LONG = "too_long"
    REPEATED_IMAGE_IN_DOCUMENT = "repeated_image_in_document"
    # metadata of images on the web: its rows, and rules set in the recipe
    MALFORMED_UID = "malformed_uid"
    DUPLICATE_UID = "duplicate_uid"  # the file had this uid before
    MISSING_URL = "missing_url"
    MISSING_VALUE = "missing_value"  # that a rule looks at
    LOW_SIMILARITY = "low_similarity"  # of image and caption
    BELOW_TOP_FRACTION = "below_top_fraction"
    TOO_LARGE = "too_large"
    TOO_FEW_WORDS = "too_few_words"
    TOO_MANY_WORDS = "too_many_words"
    OTHER_LANGUAGE = "other_language"
    NOT_IN_SUBSET = "not_in_subset"
    EXCLUDED = "excluded"  # its uid is in a subset to be left out


@dataclass
class Rejected(Exception):
    """One sample cannot go on; raised where the fault is found, stored as a quarantined row."""

    reason: Reason
    detail: str

    def __str__(self) -> str:
        return f"{self.reason}: {self.detail}"


@dataclass(frozen=True, slots=True)
class QuarantinedRow:
    """A row that a command leaves out. `key` and `uid` are those of its sample, `stage` says where the fault was."""

    key: str
    uid: str | None
    stage: str
    reason: str
    detail: str

    @classmethod
    def of(cls, key: str, uid: str | None, stage: str, fault: Rejected) -> Self:
        """The row of a sample that was rejected. What is no text in the detail is written as `?`."""
        return cls(key, uid, stage, fault.reason.value, fault.detail.encode("utf-8", "replace").decode())


QUARANTINE = pa.schema(
    [
        pa.field("key", pa.string(), nullable=False),
        pa.field("uid", pa.string()),
        pa.field("stage", pa.string(), nullable=False),
        pa.field("reason", pa.string(), nullable=False),
        pa.field("detail", pa.string(), nullable=False),
    ]
)


def quarantine_table(rows: Iterable[QuarantinedRow]) -> pa.Table:
    """The rows as they are stored."""
    return pa.Table.from_pylist([asdict(row) for row in rows], schema=QUARANTINE)
