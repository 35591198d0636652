"""Follows the runs that share an output set, and waits while all that is left is theirs."""

import time

from pipelines.annotate.claims.claim_folder import ClaimFolder
from pipelines.annotate.drivers.run_view import RunView
from pipelines.annotate.graph_watch import WORK_IS_KEPT
from pipelines.inputs.shards import InputShard
from schemas.errors import ShardloomError
from schemas.output_set.layout import PARTS
from schemas.output_set.lock import Lock
from schemas.storage.folder import Folder

POLL_SECONDS = 5.0  # between two looks while this run waits
LOOK_SECONDS = 60.0  # between two looks while it works: for the display alone, and each lists all manifests
IDLE_STALLS = 20  # of `stall_seconds`: a chunk may take a core 15 minutes, and others see only whole parts


class OtherRuns:
    """Tells which of `shards` other runs have committed, which they hold, and whether they make progress."""

    def __init__(
        self, output: Folder, shards: list[InputShard], lock: Lock, view: RunView, stall_seconds: float
    ) -> None:
        self._output, self._lock, self._view = output, lock, view
        self._claims = ClaimFolder(output, shards, lock.holder)
        self._sizes = {shard.name: shard.estimate_chosen_size() for shard in shards}
        self._known = set[str]()  # committed, by this run or another
        self._timeout = IDLE_STALLS * stall_seconds
        self._last_look = 0.0

    def wait_for_shards(self) -> bool:
        """Waits until a shard is free to claim and returns True; returns False when all shards are committed.

        Raises `ShardloomError` when the runs that hold the others make no progress.
        """
        state, since = None, time.monotonic()
        while unfinished := self.look():
            if self._claims.count_free():
                return True
            before, state = state, (unfinished, self._output.list_files(PARTS))
            since = since if state == before else time.monotonic()
            line = self._describe_wait(len(unfinished))
            if (idle := time.monotonic() - since) > self._timeout:
                raise ShardloomError(f"no progress for {idle:.0f} s: {line}; {WORK_IS_KEPT}")
            self._view.progress.show(doing=line)
            self._lock.check()
            time.sleep(POLL_SECONDS)
        return False

    def note_commit(self, shard: str) -> None:
        """Notes that this run has committed a shard."""
        self._known.add(shard)

    def look(self) -> list[str]:
        """Returns the names of the shards that are not committed, and shows what others have committed."""
        self._last_look = time.monotonic()
        unfinished = self._claims.list_unfinished()
        committed = self._sizes.keys() - unfinished - self._known
        self._known |= committed
        self._view.skip_shards([self._sizes[shard] for shard in committed])
        return unfinished

    def look_sometimes(self) -> None:
        """Looks again if the last look is `LOOK_SECONDS` ago."""
        if time.monotonic() - self._last_look > LOOK_SECONDS:
            self.look()

    def _describe_wait(self, shards: int) -> str:
        held = self._claims.count_held_by_others()
        named = f"{next(iter(held))}" if held else "a run that has ended"
        more = f" and {len(held) - 1} more" if len(held) > 1 else ""
        return f"waiting for {shards:,} {'shard' if shards == 1 else 'shards'} of {named}{more}"
