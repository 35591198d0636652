"""What a comparison checks before it trains, of the plans of its data."""

import itertools
from pathlib import Path

import numpy as np
import pytest

from pipelines.compare.budget import check_equal_budgets, compute_budget, find_order_difference, find_steps
from pipelines.compare.design import FIRST, NULL, SECOND, Arm, list_trainings
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


def test_steps_of_epochs_are_those_of_each_seed(inputs: Inputs, tmp_path: Path) -> None:
    """Another order of the samples is packed into another number of sequences."""
    whole = {"repeats": {}, "stop": "all_exhausted"}
    path = inputs.write_recipe("epoch", data=whole, steps=None, epochs=1, global_batch_size=1)
    arms = [Arm(name, str(path), load_train_recipe(str(path))) for name in (FIRST, SECOND, NULL)]
    seeds = range(4)
    trainings = list_trainings(arms, seeds, str(tmp_path))
    budgets = {arm.name: compute_budget(arm, 0) for arm in arms[:2]}
    assert budgets[FIRST].depends_on_seed
    found = find_steps(arms, trainings, budgets, "positions")
    assert found == [compute_budget(arms[0], one.seed).steps for one in trainings]
    assert len(set(found)) > 1
    steps = arm(inputs.first)
    endless = compute_budget(steps, 0)
    assert not endless.depends_on_seed
    pair = [Arm(name, steps.path, steps.recipe) for name in (FIRST, SECOND)]
    assert (
        find_steps(pair, list_trainings(pair, seeds, ""), dict.fromkeys((FIRST, SECOND), endless), "images") == [2] * 8
    )


def test_unequal_budgets_of_a_later_seed(inputs: Inputs) -> None:
    """B has as many steps as A with the first seed alone."""
    whole = {"repeats": {}, "stop": "all_exhausted"}
    path = inputs.write_recipe("epoch", data=whole, steps=None, epochs=1, global_batch_size=1)
    first = Arm(FIRST, str(path), load_train_recipe(str(path)))
    steps = {seed: compute_budget(first, seed).steps for seed in (0, *range(1000, 1004))}
    other = next(seed for seed in steps if steps[seed] != steps[0])
    second = Arm(SECOND, str(path), load_train_recipe(str(path), [f"steps={steps[0]}", "epochs=null"]))
    trainings = [*list_trainings([first, second], [0], ""), *list_trainings([first, second], [other], "")]
    budgets = {arm.name: compute_budget(arm, 0) for arm in (first, second)}
    with pytest.raises(UsageError, match=rf"^(the budgets are unequal with seed {other}: |.*: its data run out after)"):
        find_steps([first, second], trainings, budgets, "positions")


def test_as_many_images(inputs: Inputs) -> None:
    """Those of all packs, a step's more or less; the error says which number of steps has as many."""
    first = arm(inputs.first)
    more = arm(inputs.second, "steps=6")
    budget, other = compute_budget(first, 0), compute_budget(more, 0)
    packs = list(itertools.islice(budget.plan.iterate_packs(), 8))
    tables = budget.plan.sources.tables
    counts = [
        len(tables[source].rows.take(np.array([sample]))[0]["image_details"])
        for pack in packs
        for source, sample in zip(pack.sources.tolist(), pack.samples.tolist(), strict=True)
    ]
    assert budget.count_images() == sum(counts) > 0
    check_equal_budgets((first, budget), (first, budget), "images")
    with pytest.raises(UsageError) as refused:
        check_equal_budgets((first, budget), (more, other), "images")
    assert str(refused.value) == (
        f"the budgets are unequal: {first.path} trains on {sum(counts):,} images (2 steps) and {more.path} on "
        f"{other.count_images():,} (6 steps): set steps of the second to about 2"
    )


def test_data_that_just_last(inputs: Inputs) -> None:
    """With this seed; so the others are looked at, too."""
    found = compute_budget(arm(inputs.write_recipe("just", data={"stop": 10}, steps=1)), 0)
    assert (found.steps, found.depends_on_seed) == (1, True)


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
