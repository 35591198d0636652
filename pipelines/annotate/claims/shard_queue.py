"""Keeps claims in memory, for the drivers of one run. `start_queue` makes an actor of it."""

import json
from collections import deque
from collections.abc import Callable, Container, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from pipelines.annotate.claims.claim import Claim, Ticket
from pipelines.inputs.shards import InputShard


class ShardQueue:
    """Implements `Claims` in memory: shards are handed out in their order, and those given back come first.

    Each step is also a line of the file `journal`, from which a queue whose process has died starts again.
    `is_committed` tells whether the shard of this name is committed; `last` names the run's last shards.
    """

    def __init__(
        self,
        shards: Sequence[InputShard],
        is_committed: Callable[[str], bool],
        journal: str = "",
        last: Container[str] = (),
    ) -> None:
        self._shards, self._last = {shard.name: shard for shard in shards}, last
        self._is_committed = is_committed
        self._free = deque(self._shards)
        self._claims: dict[Ticket, Claim] = {}
        self._holders: dict[str, Ticket] = {}  # of the shards that are claimed and not finished
        self._lives: dict[str, str] = {}
        self._had_owner: set[str] = set()
        self._unfinished = set(self._shards)
        self._reports: dict[int, Any] = {}
        self._journal = Path(journal) if journal else None
        if self._journal is not None and self._journal.exists():
            lines = self._journal.read_text()
            self._replay(lines.splitlines())
            if not lines.endswith("\n"):
                self._journal.write_text(f"{lines}\n")

    def begin_life(self, owner: str, life: str) -> list[str]:
        """See `Claims`."""
        held = [shard for shard, of in self._holders.items() if of.owner == owner and of.life != life]
        finished = [shard for shard in held if self._is_committed(shard)]
        freed = [shard for shard in held if shard not in finished]
        for shard in finished:
            self.finish(shard)
        self._write("begin", owner=owner, life=life, freed=freed)
        self._begin(owner, life, freed)
        return freed

    def take(self, ticket: Ticket) -> Claim | None:
        """See `Claims`."""
        if self._lives.get(ticket.owner) != ticket.life:
            return None
        if (known := self._claims.get(ticket)) is not None:
            return known
        if not self._free:
            return None
        self._write("take", shard=self._free[0], **asdict(ticket))
        return self._grant(ticket, self._free.popleft())

    def finish(self, shard: str) -> None:
        """See `Claims`."""
        self._write("finish", shard=shard)
        self._holders.pop(shard, None)
        self._unfinished.discard(shard)

    def count_free(self) -> int:
        """See `Claims`."""
        return len(self._free)

    def list_unfinished(self) -> list[str]:
        """See `Claims`."""
        return [shard for shard in self._shards if shard in self._unfinished]

    def record_report(self, driver: int, report: Any) -> None:
        """Keeps the report of a driver, in place of its last one, until the command takes it."""
        self._reports[driver] = report

    def take_reports(self) -> dict[int, Any]:
        """Returns the reports since the last call, by driver. One call for all drivers costs the command least."""
        reports, self._reports = self._reports, {}
        return reports

    def _grant(self, ticket: Ticket, shard: str) -> Claim:
        claim = Claim(self._shards[shard], shard in self._had_owner, shard in self._last)
        self._claims[ticket] = claim
        self._holders[shard] = ticket
        self._had_owner.add(shard)
        return claim

    def _begin(self, owner: str, life: str, freed: Sequence[str]) -> None:
        """Begins the life, and puts `freed` shards back at the head of the queue, in their order."""
        self._lives[owner] = life
        for shard in reversed(freed):
            del self._holders[shard]
            self._free.appendleft(shard)

    def _write(self, step: str, **values: Any) -> None:
        if self._journal is not None:
            with self._journal.open("a") as file:
                file.write(json.dumps({"step": step} | values) + "\n")

    def _replay(self, lines: Sequence[str]) -> None:
        """Repeats the steps of an earlier process, which may have died in the middle of the last line."""
        journal, self._journal = self._journal, None
        for values in map(_parse_step, lines):
            match values.pop("step", ""):
                case "begin":
                    self._begin(**values)
                case "take":
                    shard = values.pop("shard")
                    self._free.remove(shard)
                    self._grant(Ticket(**values), shard)
                case "finish":
                    self.finish(**values)
        self._journal = journal


def _parse_step(line: str) -> dict[str, Any]:
    try:
        values: dict[str, Any] = json.loads(line)
    except ValueError:
        return {}
    return values


def start_queue(
    shards: Sequence[InputShard], is_committed: Callable[[str], bool], journal: str, last: Container[str]
) -> ray.actor.ActorHandle:
    """Starts a queue as an actor on the driver's node, where `journal` is a path. Ray restarts it when it dies."""
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    actor = ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=-1, scheduling_strategy=here)(ShardQueue)
    return actor.remote(shards, is_committed, journal, last)
