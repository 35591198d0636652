"""What a comparison checks before it trains, of the plans of its data."""

from pathlib import Path

import pytest

from pipelines.compare.budget import check_equal_budgets, compute_budget, find_order_difference
from pipelines.compare.design import Arm
from schemas.errors import UsageError
from tests.pipelines.compare.conftest import Inputs
from tests.training.support.sets import captioned, plan, tokenizer, write_set
from training.recipe import load_train_recipe


def arm(path: Path, *overrides: str) -> Arm:
    return Arm("a", str(path), load_train_recipe(str(path), list(overrides)))


def test_a_budget_is_counted_in_positions(inputs: Inputs) -> None:
    """Two steps of four sequences of 128 are four steps of two."""
    first, second = arm(inputs.first), arm(inputs.second, "steps=4", "global_batch_size=2")
    found = compute_budget(first, 0), compute_budget(second, 0)
    assert [(one.steps, one.positions, one.samples) for one in found] == [(2, 1024, 1_000_000), (4, 1024, 1_000_000)]
    check_equal_budgets((first, found[0]), (second, found[1]))
    more = arm(inputs.second, "steps=3")
    with pytest.raises(UsageError, match=r"the budgets are unequal: .*first\.yaml trains on 1,024 .* on 1,536 \(3 ste"):
        check_equal_budgets((first, found[0]), (more, compute_budget(more, 0)))


def test_the_order_of_samples(tmp_path: Path) -> None:
    """Texts may differ; seeds, weights and keys may not."""
    words, _ = tokenizer(tmp_path)

    def build(name: str, text: str = "a", first: int = 0, count: int = 8, **options: object):  # type: ignore[no-untyped-def]
        records = [captioned(first + number, text * (number + 1)) for number in range(count)]
        return plan(tmp_path, {"images": write_set(tmp_path / name, records, words)}, **options)

    one = build("one")
    assert find_order_difference(one, build("other", text="bcd")) is None
    assert find_order_difference(one, build("shorter", count=7, seed=0)) is not None
    assert find_order_difference(one, build("seeded", seed=3)) == "the mixtures differ from sample 1 on"
    assert find_order_difference(one, build("longer", stop=16, repeats={"images": None})) == (
        "one mixture has 8 samples and the other 16"
    )
    keys = find_order_difference(one, build("others", first=8))
    assert keys is not None
    assert keys.startswith("sample ")
    assert keys.endswith("in the other")
