"""Runs that share only the output set's folder, on a disk or an object store, claim each shard once."""

import contextlib
import multiprocessing
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from dataclasses import replace
from pathlib import Path

import pytest

from pipelines.annotate.claims import claim_folder
from pipelines.annotate.claims.claim import Claim, Ticket
from pipelines.annotate.claims.claim_folder import ClaimFolder, has_unfinished_claims
from pipelines.inputs.shards import InputShard
from schemas.output_set.active_runs import PREFIX, name_file
from schemas.output_set.holder import Holder, use_id
from schemas.output_set.layout import MANIFESTS
from schemas.output_set.lock import lock_output
from schemas.storage.folder import Folder
from tests.support.s3.bucket import Bucket

SHARDS = [InputShard(f"0000.{number}", f"/images/0000.{number}.tar") for number in range(4)]
NAMES = [shard.name for shard in SHARDS]


@pytest.fixture
def output(tmp_path: Path) -> Folder:
    return Folder(str(tmp_path / "out"))


@pytest.fixture
def runs(output: Folder) -> Iterator[list[ClaimFolder]]:
    with two_runs(output) as both:
        yield both


@contextlib.contextmanager
def two_runs(output: Folder) -> Iterator[list[ClaimFolder]]:
    """Two runs of this process."""
    with contextlib.ExitStack() as stack:
        holders = [Holder("annotate"), Holder("annotate")]
        for holder in holders:
            stack.enter_context(use_id(holder))
        yield [open_claims(output, holder) for holder in holders]


def open_claims(output: Folder, holder: Holder, life: str = "1", limit: int | None = None) -> ClaimFolder:
    """The claims of a run that shares the folder."""
    output.write(name_file(PREFIX, holder.id), holder.encode())
    claims = ClaimFolder(output, SHARDS, holder, limit)
    claims.begin_life("x", life)
    return claims


def ticket(number: int, life: str = "1") -> Ticket:
    return Ticket("x", life, number)


def take_all(claims: ClaimFolder, life: str = "1") -> list[Claim]:
    """All that a run gets."""
    taken = (claims.take(ticket(number, life)) for number in range(len(SHARDS) + 1))
    return [claim for claim in taken if claim is not None]


def names(claims: list[Claim]) -> list[str]:
    return sorted(claim.shard.name for claim in claims)


def test_each_shard_goes_to_one_run(runs: list[ClaimFolder]) -> None:
    one, other = runs
    first = one.take(ticket(0))
    assert first is not None
    assert one.take(ticket(0)) == first
    rest = take_all(other)
    assert names([first, *rest]) == NAMES
    assert not any(claim.had_owner for claim in [first, *rest])
    assert (one.take(ticket(1)), one.count_free(), other.count_free()) == (None, 0, 0)
    assert one.is_held(first.shard.name)
    assert not other.is_held(first.shard.name)


def test_on_an_object_store(bucket: Bucket) -> None:
    with two_runs(Folder(f"{bucket.url}/out")) as (one, other):
        first = one.take(ticket(0))
        assert first is not None
        rest = take_all(other)
        assert names([first, *rest]) == NAMES
        other.begin_life("x", "")
        assert one.is_held(first.shard.name)
        assert names(take_all(one)) == NAMES
        assert one.take(ticket(1)) is not None
        assert not other.is_held(rest[0].shard.name)


def test_what_is_given_back_goes_to_others(runs: list[ClaimFolder]) -> None:
    one, other = runs
    assert names(take_all(one)) == NAMES
    one.begin_life("x", "2")
    assert one.take(ticket(0)) is None, "a late task of the first life"
    taken = take_all(other)
    assert names(taken) == NAMES
    assert all(claim.had_owner for claim in taken)
    assert (take_all(one, "2"), one.count_free()) == ([], 0)
    assert [one.is_held(name) for name in NAMES] == [False] * 4


def test_shards_that_are_committed_are_not_claimed(output: Folder, runs: list[ClaimFolder]) -> None:
    one, other = runs
    output.write(f"{MANIFESTS}/{NAMES[2]}.json", b"{}")
    assert names(take_all(one)) == [NAMES[0], NAMES[1], NAMES[3]]
    output.write(f"{MANIFESTS}/{NAMES[1]}.json", b"{}")
    one.finish(NAMES[1])
    output.write(f"{MANIFESTS}/{NAMES[3]}.json", b"{}")  # it dies before it can say so
    assert one.begin_life("x", "2") == [NAMES[0]]
    assert names(take_all(other)) == [NAMES[0]]
    assert one.list_unfinished() == other.list_unfinished() == [NAMES[0]]


@pytest.mark.parametrize(("age", "is_taken"), [(40, False), (70, True)])
def test_the_claims_of_another_machine_lapse(
    output: Folder, monkeypatch: pytest.MonkeyPatch, age: float, is_taken: bool
) -> None:
    theirs = open_claims(output, replace(Holder("annotate"), host="elsewhere", boot="another", pid=7))
    assert names(take_all(theirs)) == NAMES
    real = Folder.get_modified_time
    monkeypatch.setattr(
        Folder,
        "get_modified_time",
        lambda self, name: (real(self, name) or 0.0) + (0 if name.startswith((PREFIX, "parts/")) else age),
    )
    ours = open_claims(output, Holder("annotate"))
    assert ours.count_free() == (4 if is_taken else 0)
    assert names(take_all(ours)) == (NAMES if is_taken else [])
    assert theirs.is_held(NAMES[0]) is not is_taken


def test_a_run_of_this_machine_that_has_ended_holds_nothing(output: Folder) -> None:
    holder = Holder("annotate")
    with use_id(holder):
        assert names(take_all(open_claims(output, holder))) == NAMES
        assert take_all(open_claims(output, Holder("annotate"))) == []
    assert names(take_all(open_claims(output, Holder("annotate")))) == NAMES


def test_a_process_that_starts_again_keeps_its_claims(output: Folder) -> None:
    holder = Holder("annotate")
    before = open_claims(output, holder)
    first, second = (before.take(ticket(number)) for number in (0, 1))
    assert first is not None
    assert second is not None
    again = open_claims(output, holder)
    assert [again.take(ticket(number)) for number in (0, 1)] == [
        replace(claim, had_owner=True) for claim in (first, second)
    ]
    assert len(again.begin_life("x", "2")) == 2
    assert names(take_all(again, "2")) == NAMES


def test_a_damaged_claim_counts_by_its_age(output: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    output.write(f"parts/claims/{NAMES[0]}.0000.json", b"{")
    assert names(take_all(open_claims(output, Holder("annotate")))) == NAMES[1:]
    monkeypatch.setattr(claim_folder, "LEASE_SECONDS", -1.0)
    assert names(take_all(open_claims(output, Holder("annotate")))) == NAMES


def test_a_run_that_ends_holds_nothing(output: Folder) -> None:
    """It removes its own file; its claims need no change. Nor does a machine that has left none."""
    with lock_output(output, "annotate --claim", is_shared=True) as lock:
        claims = ClaimFolder(output, SHARDS, lock.holder)
        claims.begin_life("x", "1")
        assert names(take_all(claims)) == NAMES
        assert take_all(open_claims(output, Holder("annotate"))) == []
        assert has_unfinished_claims(output, NAMES[:3])
        assert not has_unfinished_claims(output, NAMES)
    assert not has_unfinished_claims(output, NAMES[:3])
    assert names(take_all(open_claims(output, Holder("annotate")))) == NAMES


def test_a_run_takes_no_more_than_it_can_hold(output: Folder) -> None:
    """What waits for its turn gets a shard when one is finished, or none when its life has ended."""
    holder = Holder("annotate")
    with use_id(holder), ThreadPoolExecutor(2) as pool:
        claims = open_claims(output, holder, limit=2)
        held = [claims.take(ticket(number)) for number in (0, 1)]
        waiting = [pool.submit(claims.take, ticket(number)) for number in (2, 3)]
        assert claims.take(ticket(0)) == held[0]
        assert not any(each.done() for each in waiting)
        assert held[0] is not None
        claims.finish(held[0].shard.name)
        done, rest = wait(waiting, 60, FIRST_COMPLETED)
        assert (len(done), len(rest)) == (1, 1)
        assert [each.result() for each in done] != [None]
        claims.begin_life("x", "")
        assert rest.pop().result(60) is None


def test_a_life_ends_when_the_run_holds_nothing_and_finds_nothing(runs: list[ClaimFolder]) -> None:
    """From then on it takes nothing, so that its graph can end although another run gives something back."""
    one, other = runs
    first = one.take(ticket(0))
    assert first is not None
    rest = take_all(other)
    assert not one.end_life_if_drained("x")
    assert one.take(ticket(1)) is None
    assert not one.end_life_if_drained("x"), "it holds a shard"
    one.finish(first.shard.name)
    held = one.count_held_by_others()
    assert list(held.values()) == [len(rest)] == [3]
    assert one.end_life_if_drained("x")
    other.begin_life("x", "")
    assert (one.count_free(), one.take(ticket(2))) == (3, None)
    assert one.begin_life("x", "2") == []
    assert names(take_all(one, "2")) == names(rest)


def test_a_shard_that_is_lost_to_another_run_may_come_back(output: Folder) -> None:
    """It took the shard over while this run was suspended, and ends before it commits it."""
    ours, theirs = Holder("annotate"), Holder("annotate")
    with use_id(ours):
        claims = open_claims(output, ours)
        assert names(take_all(claims)) == NAMES
        with use_id(theirs):
            output.remove(name_file(PREFIX, ours.id))
            assert names(take_all(open_claims(output, theirs))) == NAMES
            output.write(name_file(PREFIX, ours.id), ours.encode())
            assert not claims.is_held(NAMES[0])
            claims.give_back(NAMES[0])
            assert sorted(claims.begin_life("x", "2")) == NAMES[1:]
            assert take_all(claims, "2") == []
        assert sorted(claims.list_unfinished()) == NAMES
        claims.begin_life("x", "3")
        again = take_all(claims, "3")
        assert names(again) == NAMES
        assert all(claim.had_owner for claim in again)


def take_in_process(
    url: str, start: "multiprocessing.synchronize.Barrier", taken: "multiprocessing.Queue[str]"
) -> None:
    claims = open_claims(Folder(url), Holder("annotate"))
    start.wait(60)
    for number in range(len(SHARDS)):
        claim = claims.take(ticket(number))
        taken.put(claim.shard.name if claim else "")
    start.wait(60)  # while it lives its claims are its own


def test_two_processes_race(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    start, taken = context.Barrier(2), context.Queue()
    processes = [context.Process(target=take_in_process, args=(str(tmp_path), start, taken)) for _ in range(2)]
    for process in processes:
        process.start()
    found = Counter(taken.get(timeout=60) for _ in range(2 * len(SHARDS)))
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0]
    assert found == Counter({"": 4} | dict.fromkeys(NAMES, 1))
