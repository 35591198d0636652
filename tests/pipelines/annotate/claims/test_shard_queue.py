"""Shards are handed out one by one, come back from those that die, and survive the death of the queue."""

from pathlib import Path

from pipelines.annotate.claims.claim import Claim, Ticket
from pipelines.annotate.claims.shard_queue import ShardQueue
from pipelines.inputs.shards import InputShard

A, B, C = (InputShard(name, f"/images/{name}.tar") for name in "abc")


def ticket(number: int, life: str = "1", owner: str = "x") -> Ticket:
    return Ticket(owner, life, number)


def queue_of(*shards: InputShard, journal: str = "", committed: frozenset[str] | set[str] = frozenset()) -> ShardQueue:
    queue = ShardQueue(shards, committed.__contains__, journal)
    queue.begin_life("x", "1")
    return queue


def test_each_shard_has_one_ticket() -> None:
    queue = queue_of(A, B)
    queue.begin_life("y", "1")
    assert queue.take(ticket(7)) == Claim(A)
    assert queue.take(ticket(0, owner="y")) == Claim(B)
    assert (queue.take(ticket(8)), queue.count_free()) == (None, 0)
    queue.finish("a")
    assert queue.list_unfinished() == ["b"]


def test_a_retried_task_gets_its_shard_again() -> None:
    queue = queue_of(A, B)
    for _ in range(2):
        assert queue.take(ticket(3)) == Claim(A)
    queue.finish("a")
    assert queue.take(ticket(3)) == Claim(A)
    assert queue.count_free() == 1


def test_the_shards_of_a_life_that_has_ended_go_back() -> None:
    committed: set[str] = set()
    queue = queue_of(A, B, C, committed=committed)
    queue.begin_life("y", "1")
    assert [queue.take(ticket(number)) for number in (0, 1)] == [Claim(A), Claim(B)]
    assert queue.take(ticket(0, owner="y")) == Claim(C)
    committed.add("a")  # it died before it could say so
    assert queue.begin_life("x", "2") == ["b"]
    assert queue.begin_life("x", "2") == []
    assert queue.list_unfinished() == ["b", "c"]
    assert queue.take(ticket(0)) is None, "a late task of the first life"
    assert queue.take(ticket(1, owner="y")) == Claim(B, had_owner=True)


def test_an_owner_that_has_ended_gets_nothing() -> None:
    queue = queue_of(A)
    queue.take(ticket(0))
    assert queue.begin_life("x", "") == ["a"]
    assert queue.take(ticket(1)) is None


def test_a_queue_that_has_died_goes_on(tmp_path: Path) -> None:
    journal = str(tmp_path / "journal")
    queue = queue_of(A, B, C, journal=journal)
    queue.begin_life("y", "1")
    queue.take(ticket(0))
    queue.take(ticket(0, owner="y"))
    queue.take(ticket(1, owner="y"))
    queue.finish("b")
    assert queue.begin_life("x", "2") == ["a"]
    with Path(journal).open("a") as file:
        file.write('{"step": "ta')  # it died as it wrote
    for _ in range(2):
        queue = ShardQueue([A, B, C], frozenset().__contains__, journal)
        assert queue.list_unfinished() == ["a", "c"]
        assert queue.take(ticket(1, owner="y")) == Claim(C)
        assert queue.take(ticket(0)) is None
        assert queue.take(ticket(0, "2")) == Claim(A, had_owner=True)
        assert queue.count_free() == 0


def test_the_latest_report_of_each_driver_is_taken_once() -> None:
    queue = queue_of(A)
    for driver, report in ((0, "first"), (1, "other"), (0, "second")):
        queue.record_report(driver, report)
    assert queue.take_reports() == {0: "second", 1: "other"}
    assert queue.take_reports() == {}
