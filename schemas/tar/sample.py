"""What a tar holds: members, samples, and stretches that are lost; and which samples a loss has cost a member."""

from dataclasses import dataclass, field

from schemas.records.quarantine import Reason, Rejected


@dataclass(frozen=True, slots=True)
class Member:
    """One file of a tar: where its bytes lie, and the bytes."""

    name: str
    offset: int
    data: bytes


@dataclass(slots=True)
class TarSample:
    """Adjacent members with one key. `fault` says why it can't be used, if it can't."""

    key: str
    start: int  # byte offset of the first member's header
    members: dict[str, Member] = field(default_factory=dict)  # by lower-case extension
    fault: Rejected | None = None

    def spoil(self, reason: Reason, detail: str) -> None:
        """Sets the fault, unless there is one: the first is the one to tell."""
        self.fault = self.fault or Rejected(reason, detail)


@dataclass(frozen=True, slots=True)
class Damage:
    """A stretch of a tar that makes no sense, or an end that comes early."""

    offset: int
    what: str


@dataclass(frozen=True, slots=True)
class Gap:
    """A place between two sound members where others may have been.

    `names` are those of damaged headers, as far as they can be read; none when nothing is known of what is lost.
    `is_end` says that an end marker comes first, or that nothing follows: then the sample before is whole, if nothing
    speaks against it.
    """

    offset: int
    names: tuple[bytes, ...] = ()
    is_end: bool = False

    def __add__(self, other: "Gap") -> "Gap":
        """Two gaps with no sound member between them."""
        names = self.names + other.names if self.names and other.names else ()
        return Gap(self.offset, names, self.is_end or other.is_end)

    def judge(self, before: TarSample | None, after: TarSample | None, usual: frozenset[str]) -> None:
        """Spoils the neighbours that have lost a member here, as far as can be told; in doubt, both.

        `usual` are the extensions of the sample before `before`: at an early end nothing else tells what is missing.
        """
        around = [sample for sample in (before, after) if sample is not None]
        if after is None and self.is_end:
            hit = [sample for sample in around if self._is_short_at_end(sample, usual)]
        elif self.names:
            hit = [sample for name in self.names for sample in losers(name.lower(), around)]
        else:
            hit = around
        for sample in hit:
            sample.spoil(Reason.INCOMPLETE, f"the tar is damaged beside it, at byte {self.offset}")

    def _is_short_at_end(self, sample: TarSample, usual: frozenset[str]) -> bool:
        return any(_has(sample, name.lower()) is False for name in self.names) or not usual <= sample.members.keys()


def losers(name: bytes, around: list[TarSample]) -> list[TarSample]:
    """The samples that may lack the member of this name, of which one byte may be wrong."""
    own = [sample for sample in around if _has(sample, name) is False]
    lacking = [
        sample
        for sample in around
        if _has(sample, name) is None and not any(name.endswith(ending.encode()) for ending in sample.members)
    ]
    return own or lacking or [sample for sample in around if _has(sample, name)]


def _has(sample: TarSample, name: bytes) -> bool | None:
    """Whether the sample has the member of this name; None when the name is not one of the sample's."""
    key = sample.key.lower().encode() + b"."
    return name[len(key) :].decode("utf-8", "replace") in sample.members if name.startswith(key) else None
