"""Gives the readers of a graph their shards: those of a list, or those that they claim."""

import json
from collections.abc import Container, Sequence
from dataclasses import asdict
from typing import Any, Protocol

import pyarrow as pa
import ray

from pipelines.annotate.claims.claim import Claim, Ticket
from pipelines.inputs.row_choice import RowChoice
from pipelines.inputs.shards import InputShard

SHARD_SCHEMA = pa.schema(
    [("name", pa.string()), ("path", pa.string()), ("is_last", pa.bool_()), ("choice", pa.string())]
)
"""A row of a shard. The choice of its samples is JSON, and null where all are chosen."""
TICKET_SCHEMA = pa.schema([("number", pa.int64())])


class ShardSource(Protocol):
    """Describes the source of a graph. It can be pickled, so that Ray sends it to the readers."""

    def make_rows(self) -> list[pa.Table]:
        """Returns a block of one row for each reader task."""
        ...

    def resolve(self, row: pa.Table) -> Claim | None:
        """Returns the shard that a reader task reads for a row; None where there is none left."""
        ...


class ListedShards:
    """Has a row for each shard of a list. `last` names the run's last shards."""

    def __init__(self, shards: Sequence[InputShard], last: Container[str] = ()) -> None:
        self._shards, self._last = shards, last

    def make_rows(self) -> list[pa.Table]:
        """See `ShardSource`."""
        return [encode_shard(shard, shard.name in self._last) for shard in self._shards]

    def resolve(self, row: pa.Table) -> Claim | None:
        """See `ShardSource`."""
        name, path, is_last, text = (row[field][0].as_py() for field in SHARD_SCHEMA.names)
        choice = None if text is None else RowChoice(**json.loads(text))
        return Claim(InputShard(name, path, choice=choice), is_last=is_last)


class ClaimedShards:
    """Has a row for each of `count` tickets from the number `first` on, with which readers ask the actor `claims`."""

    def __init__(self, claims: ray.actor.ActorHandle, owner: str, life: str, first: int, count: int) -> None:
        self._claims, self._owner, self._life = claims, owner, life
        self._numbers = range(first, first + count)

    def make_rows(self) -> list[pa.Table]:
        """See `ShardSource`."""
        return [pa.table({"number": [number]}, schema=TICKET_SCHEMA) for number in self._numbers]

    def resolve(self, row: pa.Table) -> Claim | None:
        """See `ShardSource`. Claims a shard with the ticket of the row."""
        answer: Any = self._claims.take.remote(Ticket(self._owner, self._life, row["number"][0].as_py()))
        claim: Claim | None = ray.get(answer)
        return claim


def encode_shard(shard: InputShard, is_last: bool = False) -> pa.Table:
    """Returns a shard as a block of Ray Data."""
    choice = None if shard.choice is None else json.dumps(asdict(shard.choice))
    return pa.table(
        {"name": [shard.name], "path": [shard.path], "is_last": [is_last], "choice": [choice]}, schema=SHARD_SCHEMA
    )
