"""Sets of their own are held out as a whole, and refused where a sample of them is trained on."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from schemas.errors import UsageError
from tests.training.support.sets import captioned, document, mixed, plan, tokenizer, write_set
from training.data.options import DataOptions, HeldOutOptions, SourceTextOptions
from training.data.plan import Pack, PackPlan


def names(packs: list[Pack]) -> list[tuple[int, int]]:
    return [(int(of), int(sample)) for one in packs for of, sample in zip(one.sources, one.samples, strict=True)]


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the three sources, and a set `val` of five captions and three texts that are in none of them."""
    folder = tmp_path_factory.mktemp("sets")
    words, _ = tokenizer(folder)
    mixed(folder, words)
    write_set(folder / "val", [captioned(100 + n, "abc" * (n + 1)) for n in range(5)], words)
    write_set(folder / "val_text", [document(900 + n, ["xyz" * (n + 1)]) for n in range(3)], words)
    return folder


def build(folder: Path, held_out: dict[str, Any], **options: Any) -> PackPlan:
    sources = {name: str(folder / name) for name in ("captions", "docs", "text")}
    return plan(folder, sources, packing_window=10, held_out=held_out, **options)


def test_sets_of_their_own_are_held_out_beside_all_sources(sets: Path) -> None:
    """The plan is walked to its end: it packs all samples of the sources, and none of the sets."""
    found = build(sets, {"sets": {"pictures": str(sets / "val"), "texts": str(sets / "val_*")}})
    assert found.held_out is None
    assert found.pack_held_out(100) == []
    assert sorted(names(list(found.iterate_packs()))) == [(source, n) for source in range(3) for n in range(24)]
    trained = {key for one in found.sources.tables for key in one.rows.read_keys().to_pylist()}
    assert found.held_out_sets is not None
    assert found.held_out_sets.sources.names == ["pictures", "texts"]
    held = {key for one in found.held_out_sets.sources.tables for key in one.rows.read_keys().to_pylist()}
    assert len(held) == 8
    assert not held & trained
    assert sorted(names(found.held_out_sets.pack_random(100))) == [(0, n) for n in range(5)] + [
        (1, n) for n in range(3)
    ]
    some = names(found.held_out_sets.pack_random(2))
    assert len(some) == 4
    seeded = build(sets, {"sets": {"pictures": str(sets / "val"), "texts": str(sets / "val_*")}}, seed=9).held_out_sets
    assert seeded is not None
    assert names(seeded.pack_random(2)) == some


def test_packs_of_sets_are_the_same_with_any_seed(sets: Path) -> None:
    """Their order included, so that runs of several seeds are compared by the same sequences."""
    orders = []
    for seed in (0, 9, 10):
        plan = build(sets, {"sets": {"all": str(sets / "val*")}}, sequence_length=32, seed=seed).held_out_sets
        assert plan is not None
        packs = plan.pack_random(100)
        assert len(packs) > 2
        orders.append(names(packs))
    assert orders[0] == orders[1] == orders[2]


def test_a_share_and_sets(sets: Path) -> None:
    both = build(sets, {"share": 0.25, "sets": {"val": str(sets / "val")}})
    assert both.held_out is not None
    assert both.held_out_sets is not None
    chosen = sum(int(both.held_out.select(name, np.arange(24)).sum()) for name in both.sources.names)
    assert len(names(list(both.iterate_packs()))) == 72 - chosen
    assert {"the held-out samples", "the held-out sets"} <= both.fingerprint.keys()
    assert "the held-out sets" not in build(sets, {"share": 0.25}).fingerprint


def test_the_rules_of_a_source_apply_to_the_set_of_its_name(sets: Path) -> None:
    rule = {"captions": {"strip_filler": True}}
    found = build(sets, {"sets": {"captions": str(sets / "val"), "other": str(sets / "val_text")}}, texts=rule)
    assert found.held_out_sets is not None
    assert found.held_out_sets.sources.rules == [SourceTextOptions(strip_filler=True), SourceTextOptions()]


def test_a_sample_that_is_trained_on_is_refused(sets: Path, tmp_path: Path) -> None:
    """By its key with its images, or with the tokens of its texts; another sample of the same key is none of it."""
    words, _ = tokenizer(sets)

    def refuse(record: Any, name: str) -> None:
        held = write_set(tmp_path / name, [captioned(500, "else"), record] if "c" in name else [record], words)
        with pytest.raises(UsageError, match=rf"^data\.held_out\.sets\.{name}: .*{record.key} is trained on, as"):
            build(sets, {"sets": {name: held}})

    refuse(captioned(7, "written again"), "captions_again")
    refuse(document(100, ["z"]), "text_again")
    with pytest.raises(UsageError, match=r"c000000 is trained on, as a sample of source captions in .*00000000\.tar"):
        build(sets, {"sets": {"same": str(sets / "captions")}})
    others = [captioned(7, "another picture", size=(80, 48)), document(100, ["two"])]
    for number, record in enumerate(others):
        build(sets, {"sets": {"others": write_set(tmp_path / f"others{number}", [record], words)}})


def test_a_missing_set_is_named(sets: Path) -> None:
    with pytest.raises(UsageError, match=r"source val: .*nowhere is not an output set"):
        build(sets, {"sets": {"val": str(sets / "nowhere")}})


def test_what_the_options_refuse() -> None:
    assert HeldOutOptions().share == 0.001
    assert HeldOutOptions(sets={"val": ["x"]}).share is None
    assert HeldOutOptions().model_dump().keys() == {"share", "every", "samples"}, "as older runs have stored it"
    with pytest.raises(ValidationError, match="nothing is held out: give a share or sets"):
        HeldOutOptions(share=None)
    values = {"sources": {"text": "x"}, "weights": {"text": 1}}
    with pytest.raises(ValidationError, match="sets: a share of source 'text' is held out as well"):
        DataOptions.model_validate(values | {"held_out": {"share": 0.1, "sets": {"text": "y"}}})
