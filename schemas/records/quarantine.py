"""Defines a row that was left out, and the reason. Rows in = rows out + rows quarantined, always."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Self

import pyarrow as pa

from schemas.masking import mask_secrets


class Reason(StrEnum):
    """Says why a row was left out. The codes are stable: they are stored, counted and matched on."""

    # the sample's members in its shard
    MISSING_IMAGE = "missing_image"  # no member that is an image
    MISSING_METADATA = "missing_metadata"  # no .json member, or one that is not a JSON object
    DUPLICATE_KEY = "duplicate_key"  # the key occurred earlier in the shard, or the sample has a member twice
    UNSAFE_MEMBER = "unsafe_member"  # a link, a device, or a name that leaves its folder
    INCOMPLETE = "incomplete"  # the shard ends or is damaged inside this sample
    # the caption or another text to train on
    NOT_TEXT = "not_text"  # a list, an object, bytes that are not UTF-8, or a lone surrogate
    # the image
    NOT_AN_IMAGE = "not_an_image"
    UNSUPPORTED_FORMAT = "unsupported_format"  # an image format that web data should not contain (PSD, EPS, ...)
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
    NO_TAGS = "no_tags"  # the box engine did not run, because the tag engine failed
    NO_INPUT = "no_input"  # a caption engine did not run, because an engine whose output its prompt names failed
    CAPTION_TRUNCATED = "caption_truncated"  # the model's caption ends at its limit of tokens
    CAPTION_REFUSED = "caption_refused"  # the model or a filter refused to write the caption
    WORKER_KILLED = "worker_killed"  # the sample is a poison sample: a worker with this sample alone died, twice
    # joining images with captions
    NO_CAPTION = "no_caption"
    MISALIGNED = "misaligned"  # the caption was made from other bytes than the image's
    AMBIGUOUS_CAPTION = "ambiguous_caption"  # several different captions match the sample
    # reading published sets
    MALFORMED_ROW = "malformed_row"  # does not have its set's layout
    UNSUPPORTED_MEDIA = "unsupported_media"  # a video or a sound; its text alone would teach a model to invent
    TOO_SLOW = "too_slow"  # processing this row exceeded the time limit of a row
    LOST_IMAGE = "lost_image"  # an image that the document or caption refers to cannot be found
    OTHER_SPLIT = "other_split"  # belongs to a split of its set that is not for training
    # documents: filters set in the recipe
    EMPTY_DOCUMENT = "empty_document"  # no text and no image is left
    TOO_FEW_IMAGES = "too_few_images"
    TOO_MANY_IMAGES = "too_many_images"
    TOO_SHORT = "too_short"  # the text, not the document
    TOO_LONG = "too_long"
    REPEATED_IMAGE_IN_DOCUMENT = "repeated_image_in_document"
    # metadata of web images: its rows, and rules set in the recipe
    MALFORMED_UID = "malformed_uid"
    DUPLICATE_UID = "duplicate_uid"  # the uid occurred earlier in the file
    MISSING_URL = "missing_url"
    MISSING_VALUE = "missing_value"  # a value that a rule needs
    LOW_SIMILARITY = "low_similarity"  # between image and caption
    BELOW_TOP_FRACTION = "below_top_fraction"
    TOO_LARGE = "too_large"
    TOO_FEW_WORDS = "too_few_words"
    TOO_MANY_WORDS = "too_many_words"
    OTHER_LANGUAGE = "other_language"
    NOT_IN_SUBSET = "not_in_subset"
    EXCLUDED = "excluded"  # its uid is in a subset that the recipe excludes


@dataclass
class Rejected(Exception):
    """Rejects one sample: raised where the fault is found, and stored as a quarantined row."""

    reason: Reason
    detail: str

    def __str__(self) -> str:
        return f"{self.reason}: {self.detail}"


@dataclass(frozen=True, slots=True)
class QuarantinedRow:
    """Holds a row that a command leaves out.

    `key` and `uid` are those of the sample; `stage` names the stage that found the fault.
    """

    key: str
    uid: str | None
    stage: str
    reason: str
    detail: str

    @classmethod
    def from_rejected(cls, key: str, uid: str | None, stage: str, fault: Rejected) -> Self:
        """Returns the row of a rejected sample.

        In its detail, secrets of URLs are masked, and characters that UTF-8 cannot encode become `?`.
        """
        detail = mask_secrets(fault.detail).encode("utf-8", "replace").decode()
        return cls(key, uid, stage, fault.reason.value, detail)


QUARANTINE_SCHEMA = pa.schema(
    [
        pa.field("key", pa.string(), nullable=False),
        pa.field("uid", pa.string()),
        pa.field("stage", pa.string(), nullable=False),
        pa.field("reason", pa.string(), nullable=False),
        pa.field("detail", pa.string(), nullable=False),
    ]
)


def make_quarantine_table(rows: Iterable[QuarantinedRow]) -> pa.Table:
    """Returns the rows as the table that is stored."""
    return pa.Table.from_pylist([asdict(row) for row in rows], schema=QUARANTINE_SCHEMA)
