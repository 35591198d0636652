"""The same packs in the same order whoever reads them; what is wrong with a sample costs nothing but that sample."""

import hashlib
import multiprocessing
import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from schemas.errors import ShardloomError
from schemas.records.document import Role
from tests.support.signals import heeding_interrupts
from tests.training.support.runs import equal
from tests.training.support.sets import TILE, TOKENS_PER_TILE, captioned, document, mixed, plan, tokenizer, write_set
from training.batch import IGNORE_INDEX, PADDING, SampleName
from training.data.assemble import Assembler, BadSample
from training.data.loader import PackLoader, StepData
from training.data.plan import Cursor, PackPlan


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> PackPlan:
    folder = tmp_path_factory.mktemp("loader")
    return plan(folder, mixed(folder, tokenizer(folder)[0]), packing_window=30)


def steps(plan: PackPlan, cursor: Cursor = Cursor(), rank: int = 0, ranks: int = 1, **changes: Any) -> list[StepData]:  # noqa: B008
    loader = PackLoader(plan, rank=rank, world_size=ranks, **{"global_batch_size": 4, "prefetch": 2} | changes)
    found = list(loader.iterate_steps(cursor))
    loader.close()
    return found


def assert_same(one: list[StepData], other: list[StepData]) -> None:
    assert len(one) == len(other)
    for a, b in zip(one, other, strict=True):
        assert (a.cursor, a.bad_samples, a.left_out, a.split) == (b.cursor, b.bad_samples, b.left_out, b.split)
        assert len(a.batches) == len(b.batches)
        assert all(equal(*pair) for pair in zip(a.batches, b.batches, strict=True))


def test_any_number_of_workers_gives_the_same_batches(small: PackPlan) -> None:
    alone = steps(small)
    assert len(alone) == 6
    assert [len(step.batches) for step in alone] == [4] * 6
    for workers in (1, 2):
        assert_same(steps(small, workers=workers), alone)


def test_parquet_and_tars_give_the_same_batches(tmp_path: Path) -> None:
    words, _ = tokenizer(tmp_path)
    records = [captioned(n, f"caption {n}") for n in range(40)]
    made = [
        plan(tmp_path, {"ocr": write_set(tmp_path / form, records, words, form, shard=16)})
        for form in ("webdataset", "parquet")
    ]
    tars, tables = steps(made[0]), steps(made[1], workers=2)
    for one, other in zip(tars, tables, strict=True):
        for left, right in zip(one.batches, other.batches, strict=True):
            assert torch.equal(left.tokens, right.tokens)
            assert torch.equal(left.tiles, right.tiles)
            assert [[name.key for name in row] for row in left.samples] == [
                [name.key for name in row] for row in right.samples
            ]


def test_the_random_numbers_of_the_trainer_are_not_touched(small: PackPlan) -> None:
    torch.manual_seed(0)
    before = torch.get_rng_state()
    steps(small, workers=1)
    assert torch.equal(torch.get_rng_state(), before)


def test_ranks_share_the_steps_of_one(small: PackPlan) -> None:
    alone = steps(small)
    first, second = steps(small, rank=0, ranks=2), steps(small, rank=1, ranks=2, workers=1)
    for step, one, two in zip(alone, first, second, strict=True):
        assert step.cursor == one.cursor == two.cursor
        assert all(equal(*pair) for pair in zip(step.batches[::2], one.batches, strict=True))
        assert all(equal(*pair) for pair in zip(step.batches[1::2], two.batches, strict=True))


def test_micro_batches_are_rows_of_the_same_sequences(small: PackPlan) -> None:
    for step, wide in zip(steps(small), steps(small, micro_batch_size=2), strict=True):
        assert [len(batch.tokens) for batch in wide.batches] == [2, 2]
        assert torch.equal(torch.cat([b.tokens for b in wide.batches]), torch.cat([b.tokens for b in step.batches]))
        assert torch.equal(torch.cat([b.tiles for b in wide.batches]), torch.cat([b.tiles for b in step.batches]))
        assert [row for b in wide.batches for row in b.samples] == [row for b in step.batches for row in b.samples]


def test_a_resume_goes_on_with_the_next_step(small: PackPlan) -> None:
    whole = steps(small)
    for number in (0, 2, 4):
        assert_same(steps(small, whole[number].cursor, workers=2), whole[number + 1 :])
    assert steps(small, whole[-1].cursor) == []


def test_a_conversation_in_pieces_is_learnt_once_and_resumes(tmp_path: Path) -> None:
    words, _ = tokenizer(tmp_path)
    roles: list[Role] = ["system", "user", "user", "assistant", *(["user", "assistant"] * 3)]
    talks = [
        document(n, ["S", (64, 48), *(f"{n:02}{letter}" + "x" * (3 * n % 20) for letter in "abcdefgh")], roles)
        for n in range(12)
    ]
    made = plan(tmp_path, {"talks": write_set(tmp_path / "talks", talks, words)}, packing_window=5)
    whole = steps(made, global_batch_size=2)
    assert [fault for step in whole for fault in step.bad_samples] == []
    assert sum(step.left_out.get("talks.cut_turns", 0) for step in whole) == 0
    learnt = ""
    for batch in (batch for step in whole for batch in step.batches):
        labels = batch.labels[batch.labels != IGNORE_INDEX]
        assert not (labels == made.sequence_format.markup.image).any()
        assert int((batch.tokens == made.sequence_format.markup.image).sum()) == TOKENS_PER_TILE * len(batch.tiles)
        learnt += words.decode(labels.tolist())
    said = [f"{n:02}{letter}{'x' * (3 * n % 20)}<|end|>" for n in range(12) for letter in "bdfh"]
    assert sorted(learnt.split()) == sorted(said)
    assert sum(step.split.get("talks", 0) for step in whole) > 12
    for step, place in enumerate(whole):
        assert_same(steps(made, place.cursor, global_batch_size=2, workers=step % 2), whole[step + 1 :])


def test_a_batch_is_what_its_samples_are(small: PackPlan) -> None:
    for batch in (batch for step in steps(small) for batch in step.batches):
        held = batch.segments != PADDING
        assert torch.equal(held, batch.sources != PADDING)
        assert (batch.labels[~held] == IGNORE_INDEX).all()
        assert (batch.tokens[~held] == small.sequence_format.markup.pad).all()
        images = batch.tokens == small.sequence_format.markup.image
        assert int(images.sum()) == TOKENS_PER_TILE * len(batch.tiles)
        assert not (batch.labels == small.sequence_format.markup.image).any()
        assert batch.tiles.shape[1:] == (3, TILE, TILE)
        assert batch.grids.tolist() == [[0, 0]] * len(batch.tiles)
        assert batch.valid.all()
        for number in range(len(batch.samples[0])):
            where = batch.segments[0] == number
            count = int(where.sum())
            assert batch.positions[0][where].tolist() == list(range(count))
            labels, tokens = batch.labels[0][where], batch.tokens[0][where]
            learnt = labels[:-1] != IGNORE_INDEX
            assert torch.equal(labels[:-1][learnt], tokens[1:][learnt])
            assert labels[-1] == IGNORE_INDEX
            names = {small.sources.names[source] for source in batch.sources[0][where].tolist()}
            assert names == {batch.samples[0][number].source}


def test_the_last_step_is_filled_up(small: PackPlan) -> None:
    packs = len(list(small.iterate_packs()))
    (step,) = steps(small, global_batch_size=packs + 3)
    assert [int((batch.segments != PADDING).sum()) for batch in step.batches[-3:]] == [0, 0, 0]
    assert step.batches[-1].samples == ((),)
    assert step.batches[-1].tiles.shape == (0, 3, TILE, TILE)
    assert step.cursor == Cursor(small.window_count, 0)


def test_workers_hear_of_no_signal(small: PackPlan) -> None:
    """It often goes to all processes of a run; how to end is the trainer's to say."""
    loader = PackLoader(small, global_batch_size=4, workers=2, prefetch=2)
    found = loader.iterate_steps()
    with heeding_interrupts():  # else a test run behind an ampersand shows nothing
        next(found)
    for worker in multiprocessing.active_children():
        os.kill(worker.ident or 0, signal.SIGTERM)
        os.kill(worker.ident or 0, signal.SIGINT)
    assert len(list(found)) == 5
    loader.close()
    assert multiprocessing.active_children() == []


@pytest.mark.slow  # torch waits five seconds; `test_stall` stops a worker too
def test_a_worker_that_is_killed_is_found_at_the_next_read(small: PackPlan) -> None:
    """It is found there alone: a signal handler would raise at any line, where nothing may be prepared for it."""
    loader = PackLoader(small, global_batch_size=4, workers=1, prefetch=2)
    found = loader.iterate_steps()
    next(found)
    (worker,) = multiprocessing.active_children()
    os.kill(worker.ident or 0, signal.SIGKILL)
    os.waitid(os.P_PID, worker.ident or 0, os.WEXITED | os.WNOWAIT)
    with pytest.raises(RuntimeError, match=r"^DataLoader worker \(pid"):
        list(found)
    loader.close()


def test_a_worker_that_is_stuck_is_ended(small: PackPlan) -> None:
    loader = PackLoader(small, global_batch_size=4, workers=1, prefetch=2)
    next(loader.iterate_steps())
    (worker,) = multiprocessing.active_children()
    os.kill(worker.ident or 0, signal.SIGSTOP)
    loader.close()
    assert multiprocessing.active_children() == []


def test_faults_cost_their_samples_alone(tmp_path: Path) -> None:
    """An image that is spoilt, one that is none, and a text that is not as long as the index says."""
    words, _ = tokenizer(tmp_path)
    records = [captioned(n, f"caption {n}") for n in range(8)]
    none = b"\xff\xd8\xff no image"
    records[2] = replace(records[2], image=none, sha256=hashlib.sha256(none).hexdigest())
    found = write_set(tmp_path / "ocr", records, words, shard=8)
    whole = steps(plan(tmp_path, {"ocr": found}))
    shard = tmp_path / "ocr/data/00000000.tar"
    data = shard.read_bytes()
    spoilt = data.index(records[5].image) + 300
    data = data[:spoilt] + bytes([data[spoilt] ^ 1]) + data[spoilt + 1 :]
    shard.write_bytes(data.replace(b"caption 7", b"caption \xff"))
    got = steps(plan(tmp_path, {"ocr": found}), workers=1)
    faults = sorted((fault for step in got for fault in step.bad_samples), key=lambda fault: fault.key)
    where = str(shard)
    assert faults == [
        BadSample("ocr", where, "c000002", "image 0: decode_error: JPEG: its header makes no sense"),
        BadSample("ocr", where, "c000005", "it does not match its index row"),
        BadSample("ocr", where, "c000007", "it does not match its index row"),
    ]
    names = {name.key for step in got for batch in step.batches for row in batch.samples for name in row}
    assert names == {f"c{n:06d}" for n in (0, 1, 3, 4, 6)}
    assert [fault.key for step in whole for fault in step.bad_samples] == ["c000002"]


def test_a_text_of_another_length_is_a_fault(tmp_path: Path) -> None:
    words, _ = tokenizer(tmp_path)
    found = write_set(tmp_path / "ocr", [captioned(n, "abcd") for n in range(4)], words)
    made = plan(tmp_path, {"ocr": found})
    shard = tmp_path / "ocr/data/00000000.tar"
    shard.write_bytes(shard.read_bytes().replace(b"abcd", "abç".encode()[:4], 1))  # as many bytes, and tokens
    assert [fault for step in steps(made) for fault in step.bad_samples] == []
    units = list(made.iterate_packs())
    units[0].lengths[0] += 1
    batch, faults = Assembler(made).assemble(units[0])
    key = made.read_rows(units[0])[0]["key"]
    assert [(fault.key, fault.reason) for fault in faults] == [(key, "it gives 10 tokens, not 11 tokens as planned")]
    assert SampleName("ocr", str(shard), key) not in batch.samples[0]


@pytest.mark.parametrize("workers", [0, 1])
def test_a_shard_that_has_gone_ends_the_run_in_one_line(tmp_path: Path, workers: int) -> None:
    words, _ = tokenizer(tmp_path)
    made = plan(tmp_path, mixed(tmp_path, words))
    path = tmp_path / "docs/data/00000001.tar"
    path.unlink()
    with pytest.raises(ShardloomError) as error:
        steps(made, workers=workers)
    assert str(error.value) == f"cannot read {path}: No such file or directory"
