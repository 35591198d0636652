"""Keeps what a retry works on, so that one that was killed is resumed and works on no row twice."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from pipelines.output.replacement import STAGED
from pipelines.output.totals import add_up_manifests
from schemas.errors import UsageError
from schemas.output_set.layout import MAX_MANIFEST, PARTS, UNFINISHED
from schemas.output_set.manifest import Manifest, seal, unseal
from schemas.output_set.unit_outputs import get_unit_name
from schemas.storage.folder import Folder

_FILE = f"{STAGED}/round.json"


@dataclass(frozen=True, slots=True)
class RetryRound:
    """Holds the units that a retry works on, each with the attempts that it had before."""

    reason: str | None  # the only reason that is retried; None: all that can be
    attempts: Mapping[str, int]

    def is_pending(self, unit: str, done: Mapping[str, Manifest]) -> bool:
        """Returns whether the round has not worked on the unit yet, by the manifests of the set."""
        before = self.attempts.get(unit)
        return before is not None and (unit not in done or done[unit].attempts == before)

    def write(self, output: Folder) -> None:
        """Writes the round before its first work."""
        output.write(_FILE, seal({"reason": self.reason, "attempts": dict(self.attempts)}))


def open_round(
    output: Folder, kind: str, done: Mapping[str, Manifest], reason: str | None, can_retry: Callable[[str], bool]
) -> RetryRound:
    """Returns the round that a killed retry has left, or a new one of the units with quarantined rows to retry.

    `can_retry` says of a unit whether it has such rows; it is asked where the unit has rows of the reason. Raises
    `UsageError` where the round that is left has another reason.
    """
    if output.exists(_FILE):
        try:
            found = unseal(output.read_inside(_FILE, MAX_MANIFEST))
        except ValueError:  # written before any work: a new one takes its place
            found = {}
        if found and found["reason"] != reason:
            was = "of all reasons" if found["reason"] is None else f"of --reason {found['reason']}"
            raise UsageError(f"{output.url}: a retry {was} is not finished: give the same command to finish it first")
        if found:
            return RetryRound(reason, found["attempts"])
    units = dict.fromkeys(get_unit_name(kind, manifest.name) for manifest in done.values())
    return RetryRound(reason, {unit: done[unit].attempts for unit in units if unit in done and can_retry(unit)})


def clear_round(output: Folder) -> None:
    """Removes what a retry leaves in progress, once all its units are committed.

    The set counts as finished from the first step on: whatever a kill leaves after it is in nobody's way.
    """
    output.remove(UNFINISHED)
    output.clear(PARTS)


def describe_nothing(output: Folder, done: Mapping[str, Manifest], reason: str | None) -> str:
    """Returns the message that no quarantined row is retried, with what is quarantined."""
    held = add_up_manifests(done.values()).reasons
    found = ", ".join(f"{count:,} {name}" for name, count in held.most_common()) or "no row is quarantined"
    return f"{output.url}: nothing to retry{'' if reason is None else f' for {reason}'} ({found})"
