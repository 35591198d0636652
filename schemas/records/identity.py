"""Identifies a sample: its shard and key, the hash of its image's bytes, and the ids that its data set gives it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Identity:
    """Identifies a sample by (shard, key), checked by its image's hash.

    The uid and the URL are attributes: either may be missing, or shared by several samples. In third-party sets any
    field may be missing.
    """

    shard: str | None  # the shard's file name without the ending
    key: str | None  # unique in its shard
    sha256: str | None  # of the stored image bytes
    uid: str | None
    url: str | None
