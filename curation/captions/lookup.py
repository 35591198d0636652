"""Finds the row of a caption set for a sample: by identity in Shardloom's own sets, by attributes in others' sets.

Two samples may share a URL (COCO has five captions of each picture), and a sample may have neither URL nor uid. So rows
of Shardloom's own sets are found by shard and key, checked by the image's hash, or by the hash alone where the sample
was packed into another shard. Other sets know the sample by its uid, its URL or its image: their keys depend on how a
download was cut into shards, and mean nothing here (docs/formats.md §4).
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Generic, Literal, TypeVar

from schemas.records.identity import Identity
from schemas.records.quarantine import Reason, Rejected

T = TypeVar("T")
Attribute = Literal["uid", "url", "sha256"]
MatchKey = Literal["key", "uid", "url", "sha256"]

ATTRIBUTES: tuple[Attribute, ...] = ("uid", "url", "sha256")
"""The attributes by which rows of others' sets are found, the most reliable first."""

JOINED_BY_IMAGE, OTHER_IDS, AMBIGUOUS = "joined_by_image", "joined_from_other_ids", "ambiguous_captions"
"""The keys of `Match.counts`. The second is a part of the first: the row is of another sample of the same image."""


@dataclass(frozen=True, slots=True)
class Row(Generic[T]):
    """Holds one row of a set: its value, and the identity of the sample that it describes."""

    identity: Identity
    value: T


@dataclass(frozen=True, slots=True)
class Match(Generic[T]):
    """Holds the row that was found for a sample."""

    row: Row[T]
    matched_by: MatchKey
    is_ambiguous: bool = False
    """Whether the set has rows of the same uid with other values, too. The first row counts."""
    has_other_ids: bool = False
    """Whether the row, found by its image, has another uid or URL than the sample."""

    @property
    def counts(self) -> dict[str, int]:
        """Returns what a manifest counts for a row that was not found by its key, or was not the only one."""
        flags = {
            JOINED_BY_IMAGE: self.matched_by == "sha256",
            OTHER_IDS: self.has_other_ids,
            AMBIGUOUS: self.is_ambiguous,
        }
        return {name: 1 for name, is_so in flags.items() if is_so}


class Lookup(Generic[T]):
    """Finds rows by their samples. The order of the rows matters."""

    def __init__(self, rows: Iterable[Row[T]]) -> None:
        self._by_key: dict[tuple[str | None, str | None], Row[T]] = {}
        self._by: dict[Attribute, defaultdict[str, list[Row[T]]]] = {name: defaultdict(list) for name in ATTRIBUTES}
        for row in rows:
            self._by_key.setdefault((row.identity.shard, row.identity.key), row)
            for name in ATTRIBUTES:
                if value := getattr(row.identity, name):
                    self._by[name][value].append(row)

    def find_own(self, sample: Identity) -> Match[T] | None:
        """Returns the sample's row in one of Shardloom's own sets, or None if it has none.

        Of several rows of the same image, the one that matches the sample's uid, then its URL, shard and key counts.
        Raises `Rejected`: `ambiguous_caption` if several such rows have different values, `misaligned` if the row is of
        other bytes.
        """
        in_place = self._by_key.get((sample.shard, sample.key))
        if in_place is not None and in_place.identity.sha256 == sample.sha256:
            return Match(in_place, "key")
        if rows := self._find_rows("sha256", sample):
            for name in ("uid", "url", "shard", "key"):
                rows = prefer_agreeing(rows, sample, name)
            found = require_agreement(rows, "sha256")
            return replace(found, has_other_ids=has_conflicting_ids(found.row.identity, sample))
        other = next(iter(self._find_rows("uid", sample) or self._find_comparable_rows("url", sample)), None)
        if other is None and in_place is not None and not has_conflicting_ids(in_place.identity, sample):
            other = in_place
        if other is not None:
            was = other.identity.sha256
            raise Rejected(Reason.MISALIGNED, f"captions of bytes {was}, image of {sample.sha256}")
        return None

    def find_other(self, sample: Identity) -> Match[T] | None:
        """Returns the sample's row in another's set, by uid where both sides have one, or None if it has none.

        A uid belongs to one sample: of several rows the first counts, and the result is marked ambiguous. A URL or an
        image may belong to several: raises `Rejected` (`ambiguous_caption`) if their rows have different values.
        """
        for place, name in enumerate(ATTRIBUTES):
            if rows := self._find_comparable_rows(name, sample):
                for later in ATTRIBUTES[place + 1 :]:
                    rows = prefer_agreeing(rows, sample, later)
                if name == "uid":
                    return Match(rows[0], name, any(row.value != rows[0].value for row in rows))
                return require_agreement(rows, name)
        return None

    def _find_rows(self, name: Attribute, sample: Identity) -> list[Row[T]]:
        value = getattr(sample, name)
        return self._by[name].get(value, []) if value else []

    def _find_comparable_rows(self, name: Attribute, sample: Identity) -> list[Row[T]]:
        """Returns the rows that share this attribute with the sample, without rows that have a more reliable attribute.

        Where both sides have a more reliable attribute, it would have matched already, so such a row is of another
        sample.
        """
        surer = ATTRIBUTES[: ATTRIBUTES.index(name)]
        return [
            row
            for row in self._find_rows(name, sample)
            if not any(getattr(row.identity, each) and getattr(sample, each) for each in surer)
        ]


def prefer_agreeing(rows: Sequence[Row[T]], sample: Identity, name: str) -> list[Row[T]]:
    """Returns the rows that have the sample's value of an attribute, or all rows if none has it."""
    value = getattr(sample, name)
    return [row for row in rows if value and getattr(row.identity, name) == value] or list(rows)


def require_agreement(rows: Sequence[Row[T]], by: Attribute) -> Match[T]:
    """Returns what all rows say. Raises `Rejected` (`ambiguous_caption`) if they differ."""
    if any(row.value != rows[0].value for row in rows):
        what = {"uid": "uid", "url": "URL", "sha256": "image"}[by]
        raise Rejected(Reason.AMBIGUOUS_CAPTION, f"{len(rows)} rows of its {what} say different things")
    return Match(rows[0], by)


def has_conflicting_ids(row: Identity, sample: Identity) -> bool:
    """Returns whether a row names another uid or URL than the sample."""
    pairs = ((row.uid, sample.uid), (row.url, sample.url))
    return any(one and other and one != other for one, other in pairs)
