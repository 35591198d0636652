"""Each pair of trainings has one seed, and the null has others."""

from pathlib import Path

from pipelines.compare.design import FIRST, NULL, SECOND, Arm, list_trainings
from tests.training.support import runs


def test_pairs_share_their_seeds(tmp_path: Path) -> None:
    recipe = runs.recipe(tmp_path, seed=5)
    arms = [Arm(name, "x.yaml", recipe, ("steps=3",)) for name in (FIRST, SECOND, NULL)]
    found = list_trainings(arms, [0, 1], str(tmp_path))
    assert [(one.arm, one.seed) for one in found] == [
        ("a", 0),
        ("b", 0),
        ("null", 1000),
        ("a", 1),
        ("b", 1),
        ("null", 1001),
    ]
    assert all(one.recipe.seed == one.recipe.model.seed == one.recipe.data.seed == one.seed for one in found)
    assert found[-1].recipe.run.output == str(tmp_path / "null/seed-1001/run")
    assert found[-1].run_folder == tmp_path / "null/seed-1001/run"
    assert found[4].title == "b with seed 1"
    assert found[4].arguments == ("x.yaml", "steps=3", "seed=1", "model.seed=1", "data.seed=1")
