"""`recipes/README.md` names every recipe, and no other."""

import re
from pathlib import Path

from schemas.output_set.recipe_layers import read_layers
from tests.conftest import REPOSITORY

FOLDER = REPOSITORY / "recipes"
PAGE = (FOLDER / "README.md").read_text()
RECIPES = {str(path.relative_to(FOLDER)) for path in FOLDER.rglob("*.yaml")}


def test_every_recipe_is_named_and_every_name_is_a_recipe() -> None:
    rows = [line for line in PAGE.splitlines() if line.startswith("|")]
    assert {name for row in rows for name in re.findall(r"`([^`]+\.yaml)`", row)} == RECIPES


def test_a_recipe_of_a_paper_says_which_place_it_is() -> None:
    """In its first line, where `shardloom recipe copy` shows it."""
    places = {"xgen_mm": "xGen-MM", "mm1": "MM1", "xmodel_vlm": "Xmodel-", "idefics2": "Idefics2"}
    for name in sorted(RECIPES):
        family = Path(name).parent.name
        if family in places:
            first = (FOLDER / name).read_text().partition("\n")[0]
            assert re.match(f"# {places[family]}.*(Table|Figure|section|stage|ablation)", first), name


def test_bases_are_recipes_that_ship() -> None:
    """So that a copy has all of them, in the same places."""
    above = {name: [Path(layer.path) for layer in read_layers(str(FOLDER / name))] for name in RECIPES}
    assert max(map(len, above.values())) == 4
    for paths in above.values():
        assert {str(path.relative_to(FOLDER)) for path in paths} <= RECIPES
