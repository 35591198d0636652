"""Held-out samples are in no pack, and in those that their loss is computed of."""

from pathlib import Path

import numpy as np
import pytest

from schemas.errors import UsageError
from tests.training.support.sets import mixed, plan, tokenizer
from training.data.plan import Pack, PackPlan

SHARE = 0.25


def names(packs: list[Pack]) -> list[tuple[int, int]]:
    return [(int(of), int(sample)) for one in packs for of, sample in zip(one.sources, one.samples, strict=True)]


@pytest.fixture(scope="module")
def held(tmp_path_factory: pytest.TempPathFactory) -> PackPlan:
    folder = tmp_path_factory.mktemp("plan")
    sources = mixed(folder, tokenizer(folder)[0])
    return plan(folder, sources, packing_window=10, held_out={"share": SHARE})


def test_no_pack_has_a_sample_that_is_held_out(held: PackPlan) -> None:
    """The plan is walked to its end: what it packs and what it holds out are all samples, and share none."""
    assert held.held_out is not None
    chosen = [held.held_out.select(name, np.arange(24)) for name in held.sources.names]
    out = [(source, sample) for source in range(3) for sample in np.flatnonzero(chosen[source]).tolist()]
    packs = list(held.iterate_packs())
    assert 0 < len(out) < 36
    assert sorted([*names(packs), *out]) == [(source, sample) for source in range(3) for sample in range(24)]
    left_out = sum((one.left_out.get(f"{name}.held_out", 0) for one in packs for name in held.sources.names), 0)
    assert left_out == len(out)
    assert sorted(names(held.pack_held_out(100))) == out
    assert len(names(held.pack_held_out(1))) == 3
    assert all(one.lengths.sum() <= 64 and one.tiles.sum() <= 32 for one in held.pack_held_out(100))


def test_plans_that_hold_nothing_out(held: PackPlan, tmp_path: Path) -> None:
    sources = mixed(tmp_path, tokenizer(tmp_path)[0])
    whole = plan(tmp_path, sources)
    assert whole.pack_held_out(100) == []
    assert len(names(list(whole.iterate_packs()))) == 72
    assert "the held-out samples" in held.fingerprint
    assert "the held-out samples" not in whole.fingerprint
    with pytest.raises(UsageError, match=r"^data\.held_out: it holds out all samples, and none is left to train on; "):
        plan(tmp_path, sources, held_out={"share": 0.99999})
    nothing = plan(tmp_path, sources, held_out={"share": 1e-12})
    with pytest.raises(UsageError, match=r"^data\.held_out: it holds out no sample that can be used; raise held_out"):
        nothing.pack_held_out(100)
