"""What tells one sample from all others: where it lies, its image's bytes, and the ids that came with it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Identity:
    """A sample is (shard, key), checked by its image's hash.

    The uid and the URL are attributes: either may be missing, or shared by several samples. In sets of others, anything
    may be missing.
    """

    shard: str | None  # the shard's file name without the ending
    key: str | None  # unique in its shard
    sha256: str | None  # of the stored image bytes
    uid: str | None
    url: str | None
