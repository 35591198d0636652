"""Defines the content of a tar: members, samples and lost byte ranges; and finds the samples that lost a member."""

from dataclasses import dataclass, field
from typing import NamedTuple

from schemas.records.quarantine import Reason, Rejected


class Member(NamedTuple):
    """Holds one file of a tar: its name, the offset of its bytes, and the bytes."""

    name: str
    offset: int
    data: bytes


@dataclass(slots=True)
class TarSample:
    """Holds adjacent members with one key. `fault` says why the sample cannot be used; None if it can."""

    key: str
    start: int  # byte offset of the first member's header
    members: dict[str, Member] = field(default_factory=dict)  # by lower-case extension
    fault: Rejected | None = None

    def mark_faulty(self, reason: Reason, detail: str) -> None:
        """Sets the fault unless there is one: the first fault is the one to report."""
        self.fault = self.fault or Rejected(reason, detail)


@dataclass(frozen=True, slots=True)
class Damage:
    """Describes a byte range of a tar that cannot be parsed, or an early end."""

    offset: int
    description: str


@dataclass(frozen=True, slots=True)
class Gap:
    """Marks a place between two valid members where others may have been.

    `names` are the names in damaged headers, as far as they are legible; empty if nothing is known about the loss.
    `is_end` says that an end marker comes first or that nothing follows: then the sample before the gap is complete
    unless there is evidence against it.
    """

    offset: int
    names: tuple[bytes, ...] = ()
    is_end: bool = False

    def __add__(self, other: "Gap") -> "Gap":
        """Merges two gaps with no valid member between them."""
        names = self.names + other.names if self.names and other.names else ()
        return Gap(self.offset, names, self.is_end or other.is_end)

    def mark_incomplete_neighbours(
        self, before: TarSample | None, after: TarSample | None, usual: frozenset[str]
    ) -> None:
        """Marks the neighbours that lost a member here, as far as this can be determined; if in doubt, both.

        `usual` holds the extensions of the sample before `before`: at an early end, only they show what is missing.
        """
        around = [sample for sample in (before, after) if sample is not None]
        if after is None and self.is_end:
            hit = [sample for sample in around if self._is_short_at_end(sample, usual)]
        elif self.names:
            hit = [sample for name in self.names for sample in find_incomplete_samples(name.lower(), around)]
        else:
            hit = around
        for sample in hit:
            sample.mark_faulty(Reason.INCOMPLETE, f"the tar is damaged beside it, at byte {self.offset}")

    def _is_short_at_end(self, sample: TarSample, usual: frozenset[str]) -> bool:
        return (
            any(_has_member(sample, name.lower()) is False for name in self.names) or not usual <= sample.members.keys()
        )


def find_incomplete_samples(name: bytes, around: list[TarSample]) -> list[TarSample]:
    """Returns the samples that may have lost the member of this name, in which one byte may be wrong."""
    own = [sample for sample in around if _has_member(sample, name) is False]
    missing = [
        sample
        for sample in around
        if _has_member(sample, name) is None and not any(name.endswith(ending.encode()) for ending in sample.members)
    ]
    return own or missing or [sample for sample in around if _has_member(sample, name)]


def _has_member(sample: TarSample, name: bytes) -> bool | None:
    """Returns whether the sample has the member of this name; None if the name does not belong to the sample."""
    key = sample.key.lower().encode() + b"."
    return name[len(key) :].decode("utf-8", "replace") in sample.members if name.startswith(key) else None
