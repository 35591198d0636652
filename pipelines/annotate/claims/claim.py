"""Defines claims of shards: who asks, what is claimed, and what each store of claims does."""

from dataclasses import dataclass
from typing import Protocol

from pipelines.inputs.shards import InputShard


@dataclass(frozen=True, slots=True)
class Ticket:
    """Entitles its owner to one shard. The same ticket always gets the same shard, so that a retried task repeats it.

    `life` is unique to one life of the owner. A process that starts again takes new tickets, and its earlier ones are
    void.
    """

    owner: str
    life: str
    number: int


@dataclass(frozen=True, slots=True)
class Claim:
    """Grants a shard to a ticket."""

    shard: InputShard
    had_owner: bool = False  # a life that ended may have left parts of the shard
    is_last: bool = False  # one of the run's last shards, at whose end workers run out of work


class Claims(Protocol):
    """Keeps the claims of one output set. Shards are named by `InputShard.name`."""

    def begin_life(self, owner: str, life: str) -> list[str]:
        """Starts a life of the owner, and ends its earlier ones. An empty `life` only ends these.

        Returns the names of the shards that these had claimed, which are free again. A shard that is committed by now
        counts as finished instead.
        """
        ...

    def take(self, ticket: Ticket) -> Claim | None:
        """Claims a shard for the ticket. The same ticket gets the same shard again.

        Returns None where no shard is free, and for a ticket of a life that has ended.
        """
        ...

    def finish(self, shard: str) -> None:
        """Records that the shard is committed."""
        ...

    def count_free(self) -> int:
        """Returns how many shards `take` could give out now."""
        ...

    def list_unfinished(self) -> list[str]:
        """Returns the names of the shards that are not committed, claimed or not."""
        ...
