"""Keeps claims in files of the output set, for runs that share nothing but its folder.

`parts/claims/SHARD.0000.json` is the first claim of a shard. Exactly one run can create it (`create_exclusively`). It
is never removed while the set is made: who takes over a shard creates the next generation, `SHARD.0001.json`, so that
of several runs that find a claim abandoned one gets the shard. A claim is abandoned when its run has given the shard
back or has ended (`schemas.output_set.active_runs`).

A run that was suspended for longer may still hold a shard that another has taken over. Both write the same bytes; ask
`is_held` before a commit.
"""

import contextlib
import json
import math
import threading
import time
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass

from pipelines.annotate.claims.claim import Claim, Ticket
from pipelines.inputs.shards import InputShard
from schemas.errors import StorageError
from schemas.output_set.active_runs import ActiveRuns
from schemas.output_set.holder import LEASE_SECONDS, RENEW_SECONDS, Holder, measure_age
from schemas.output_set.layout import MANIFESTS, PARTS, list_manifest_files
from schemas.storage.exclusive import create_exclusively
from schemas.storage.folder import Folder

CLAIMS = f"{PARTS}/claims"


@dataclass(frozen=True, slots=True)
class _HeldShard:
    """Describes a claim of this run."""

    ticket: Ticket
    generation: int

    def is_of_earlier_life(self, owner: str, life: str) -> bool:
        return self.ticket.owner == owner and self.ticket.life != life


class ClaimFolder:
    """Implements `Claims` in files. One process uses an instance: it remembers what it has claimed.

    A process that starts again with the same `holder` finds its claims in the files. Each run begins at another shard,
    so that few runs meet at one. `take` waits while the run holds `limit` shards; the rest is left to other runs. No
    claim `is_last`: the chunks of such shards are cut into slices, which are removed as they are joined, perhaps while
    another run joins them that has taken the shard over.
    """

    def __init__(self, output: Folder, shards: Sequence[InputShard], holder: Holder, limit: int | None = None) -> None:
        self._output, self._holder, self._limit = output, holder, limit or math.inf
        first = int(holder.id, 16) % len(shards) if shards else 0
        self._shards = {shard.name: shard for shard in [*shards[first:], *shards[:first]]}
        self._generations: dict[str, int] = {}  # shard -> its newest claim, as far as known
        self._claims: dict[Ticket, Claim] = {}
        self._held: dict[str, _HeldShard] = {}
        self._lives: dict[str, str] = {}
        self._finished: set[str] = set()
        self._look_again = 0.0  # when to look for abandoned claims again, after a look that found none
        self._has_found_none = False
        self._changed = threading.Condition()
        self._restore()

    def begin_life(self, owner: str, life: str) -> list[str]:
        """See `Claims`."""
        with self._changed:
            self._lives[owner], self._look_again = life, 0.0
            earlier = [shard for shard, held in self._held.items() if held.is_of_earlier_life(owner, life)]
            freed = [shard for shard in earlier if not self._is_committed(shard)]
            for shard in earlier:
                held = self._held.pop(shard)
                if shard in freed:
                    self._output.write(_name_claim(shard, held.generation), _encode(None, held.ticket))
            self._changed.notify_all()
            return freed

    def take(self, ticket: Ticket) -> Claim | None:
        """See `Claims`. Free shards come first, then those whose run has ended."""
        with self._changed:
            while self._lives.get(ticket.owner) == ticket.life:
                if (known := self._claims.get(ticket)) is not None:
                    return known
                if len(self._held) < self._limit:
                    claim = self._take_free(ticket) or self._take_over(ticket)
                    self._has_found_none = claim is None
                    return claim
                self._changed.wait()
            return None

    def finish(self, shard: str) -> None:
        """See `Claims`. The claim stays, because it costs other runs less than another look at the manifests."""
        with self._changed:
            self._finished.add(shard)
            self._held.pop(shard, None)
            self._changed.notify_all()

    def count_free(self) -> int:
        """See `Claims`. Counts the shards of other runs that have ended as well; it reads their claims."""
        with self._changed:
            self._look()
            runs = ActiveRuns(self._output)
            return sum(self._is_free(shard, runs) for shard in self._shards)

    def end_life_if_drained(self, owner: str) -> bool:
        """Ends the owner's life if this run holds no shard and has found none to take; returns whether it does so.

        From then on `take` gives out none, so that the caller can drop the tickets that are left.
        """
        with self._changed:
            if is_drained := self._has_found_none and not self._held:
                self._lives[owner] = ""
            return is_drained

    def give_back(self, shard: str) -> None:
        """Gives up a shard that this run has not committed. Changes nothing for a run that has taken it over.

        This run may take it again, also after that run, which may end before it commits the shard.
        """
        with self._changed:
            if (held := self._held.pop(shard, None)) is not None:
                self._output.write(_name_claim(shard, held.generation), _encode(None, held.ticket))
            self._changed.notify_all()

    def count_held_by_others(self) -> dict[Holder, int]:
        """Returns the other runs at work and how many unfinished shards each holds; the one with most comes first."""
        with self._changed:
            self._look()
            counts = Counter(self._read(shard)[0] for shard in self._list_claimed())
            runs = ActiveRuns(self._output)
            ids = [id for id, _ in counts.most_common() if id and id != self._holder.id]
            return {run: counts[id] for id in ids if (run := runs.find(id)) is not None}

    def list_unfinished(self) -> list[str]:
        """See `Claims`."""
        with self._changed:
            self._look()
            return [shard for shard in self._shards if shard not in self._finished]

    def is_held(self, shard: str) -> bool:
        """Returns whether this run still holds the shard: no other run has taken it over."""
        with self._changed:
            held = self._held.get(shard)
            return held is not None and not self._output.exists(_name_claim(shard, held.generation + 1))

    def _take_free(self, ticket: Ticket) -> Claim | None:
        """Claims the first shard that no run has claimed."""
        has_looked = False
        for shard in self._shards:
            if shard in self._generations or shard in self._finished:
                continue
            if (claim := self._claim(shard, 0, ticket)) is not None:
                return claim
            if not has_looked:  # others are here: one listing spares an attempt at each of their shards
                self._look()
                has_looked = True
        return None

    def _take_over(self, ticket: Ticket) -> Claim | None:
        """Claims the first shard whose run has given it back or has ended."""
        if time.monotonic() < self._look_again:  # of many tickets at the end of a run
            return None
        self._look()
        runs = ActiveRuns(self._output)
        for shard in self._shards:
            if (
                self._is_free(shard, runs)
                and (claim := self._claim(shard, self._generations.get(shard, -1) + 1, ticket)) is not None
            ):
                return claim
        self._look_again = time.monotonic() + RENEW_SECONDS
        return None

    def _claim(self, shard: str, generation: int, ticket: Ticket) -> Claim | None:
        """Creates the claim; returns None if another run was faster, or if the shard has been committed meanwhile."""
        is_ours = create_exclusively(self._output, _name_claim(shard, generation), _encode(self._holder, ticket))
        self._generations[shard] = generation
        if not is_ours or self._is_committed(shard):
            return None
        claim = self._claims[ticket] = Claim(self._shards[shard], had_owner=generation > 0)
        self._held[shard] = _HeldShard(ticket, generation)
        return claim

    def _look(self) -> None:
        """Updates what is known of all claims and of the shards that are committed, by listing them."""
        for name in self._output.list_files(CLAIMS):
            shard, _, generation = name.removesuffix(".json").rpartition(".")
            if shard in self._shards and generation.isdecimal():
                self._generations[shard] = max(self._generations.get(shard, 0), int(generation))
        committed = {name.removesuffix(".json") for name in list_manifest_files(self._output)}
        self._finished |= committed & self._shards.keys()

    def _is_free(self, shard: str, runs: ActiveRuns) -> bool:
        """Returns whether the shard can be claimed."""
        if shard in self._finished or shard in self._held:
            return False
        if shard not in self._generations:
            return True
        holder, _ = self._read(shard)
        if holder == "":
            return measure_age(self._output, self._path(shard)) >= LEASE_SECONDS
        return holder is None or runs.find(holder) is None

    def _is_committed(self, shard: str) -> bool:
        if shard not in self._finished and self._output.exists(f"{MANIFESTS}/{shard}.json"):
            self._finished.add(shard)
        return shard in self._finished

    def _restore(self) -> None:
        """Finds the claims of this run, whose process has started again."""
        self._look()
        for shard in self._list_claimed():
            holder, ticket = self._read(shard)
            if holder == self._holder.id and ticket is not None:
                self._held[shard] = _HeldShard(ticket, self._generations[shard])
                self._claims[ticket] = Claim(self._shards[shard], had_owner=True)
                self._lives[ticket.owner] = ticket.life

    def _list_claimed(self) -> list[str]:
        return sorted(self._generations.keys() - self._finished)

    def _read(self, shard: str) -> tuple[str | None, Ticket | None]:
        return _read_claim(self._output, self._path(shard))

    def _path(self, shard: str) -> str:
        return _name_claim(shard, self._generations[shard])


def has_unfinished_claims(output: Folder, committed: Collection[str]) -> bool:
    """Returns whether a run at work has claimed a shard that is not `committed`."""
    runs = ActiveRuns(output)
    claims = [
        name for name in output.list_files(CLAIMS) if name.removesuffix(".json").rpartition(".")[0] not in committed
    ]
    holders = {_read_claim(output, f"{CLAIMS}/{name}")[0] for name in claims}
    return any(holder and runs.find(holder) is not None for holder in holders)


def _read_claim(output: Folder, path: str) -> tuple[str | None, Ticket | None]:
    """Returns the id of the run that holds the shard, and its ticket; None for a shard that was given back.

    Of a claim that is being written, or is damaged, only its age counts: its holder is the empty id.
    """
    with contextlib.suppress(StorageError, ValueError, TypeError, KeyError):
        found = json.loads(output.read(path))
        return found["holder"], Ticket(**found["ticket"])
    return "", None


def _name_claim(shard: str, generation: int) -> str:
    return f"{CLAIMS}/{shard}.{generation:04d}.json"


def _encode(holder: Holder | None, ticket: Ticket) -> bytes:
    return json.dumps({"holder": holder and holder.id, "ticket": asdict(ticket)}).encode()
