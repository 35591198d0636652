"""The mixtures that ship: their shares, flat, are those of the papers, and wrong ones are named in one line."""

import re
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
import yaml

from curation.mixture.weights import compute_integer_weights
from pipelines.recipes.base import load_recipe
from pipelines.recipes.mix import MixRecipe
from schemas.errors import UsageError
from schemas.output_set.recipe_file import dump_yaml
from tests.conftest import REPOSITORY

RECIPES = REPOSITORY / "recipes"


def shipped(name: str) -> MixRecipe:
    return load_recipe(MixRecipe, str(RECIPES / f"{name}.yaml"))


def percent(name: str) -> dict[str, Fraction]:
    return {path: 100 * share for path, share in shipped(name).shares.items()}


SHARED = {
    "mint.html": Fraction("17.5"),
    "mint.pdf": Fraction("12.5"),
    "mint.arxiv": Fraction("2.5"),
    "obelics": Fraction("17.5"),
} | dict.fromkeys(("cc12m", "cc3m", "sbu", "visual_genome"), Fraction("1.25"))


def test_stage_1_has_the_papers_shares() -> None:
    found = percent("blip3_stage1")
    others = {"kale": 25, "datacomp": 10, "ocr": 5, "grounding": 5}
    assert found == SHARED | {name: Fraction(share) for name, share in others.items()}
    assert sum(found.values()) == 100


def test_stage_2_has_the_papers_shares() -> None:
    found = percent("blip3_stage2")
    others = {"ocr_hd": "10", "idl": "10", "kale": "10", "datacomp": "2.5", "grounding": "2.5"}
    printed = SHARED | {name: Fraction(share) for name, share in others.items()}
    assert sum(printed.values()) == 90
    assert found == {name: share / Fraction("0.9") for name, share in printed.items()}


def test_mm1_has_the_papers_shares() -> None:
    found = percent("mm1")
    assert sum(share for path, share in found.items() if path.startswith("interleaved.")) == 45
    assert sum(share for path, share in found.items() if path.startswith("captions.")) == 45
    assert found["text"] == 10
    mint = [found[f"interleaved.mint.{name}"] for name in ("html", "pdf", "arxiv")]
    assert mint == [share / 13 for share in (7 * Fraction("22.5"), 5 * Fraction("22.5"), Fraction("22.5"))]


def test_the_demos() -> None:
    assert percent("demo") == {"captions.grounding": Fraction(50, 3), "captions.ocr": Fraction(100, 3), "documents": 50}


@pytest.mark.parametrize("name", ["blip3_stage1", "blip3_stage2", "mm1", "demo"])
def test_no_shipped_share_is_rounded(name: str) -> None:
    shares = list(shipped(name).shares.values())
    whole = compute_integer_weights(shares)
    assert [Fraction(weight, sum(whole)) for weight in whole] == shares


def test_every_option_of_stage_1_is_at_its_default() -> None:
    held = yaml.safe_load((RECIPES / "blip3_stage1.yaml").read_text())
    assert set(held) == set(MixRecipe.model_fields) - {"run"} | {"kind"}
    for name, field in MixRecipe.model_fields.items():
        if not field.is_required() and name != "run":
            assert held[name] == field.default


GOOD: dict[str, Any] = {"sources": {"a": "x", "b": ["y", "z/*"]}, "weights": {"a": 1, "g": {"of": {"b": 2}}}}


def test_what_is_held_is_read_back_as_it_was() -> None:
    recipe = MixRecipe.model_validate(GOOD)
    held = yaml.safe_load(dump_yaml(recipe.resolve()))
    assert load_recipe(MixRecipe, None, held) == recipe


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"weights": {"a": 1}}, "weights: source 'b' has no weight"),
        ({"weights": {"a": 1, "b": 1, "c": 1}}, "weights: there is no source 'c'; sources: a, b"),
        ({"weights": {"a": 1, "g": {"of": {"a": 1, "b": 1}}}}, "weights: a has two weights"),
        (
            {"weights": {"a": 0, "b": 1}},
            "weights: a: weight must be over 0; leave a source that is not to be drawn from out of weights and sources",
        ),
        (
            {"weights": {"a": -0.5, "b": 1}},
            "weights: a: weight must be over 0; leave a source that is not to be drawn from out of weights and sources",
        ),
        ({"weights": {"a": "much", "b": 1}}, "weights: a: weight must be a number, not 'much'"),
        ({"weights": {"a": {"wieght": 1}, "b": 1}}, "weights: a: unknown key wieght; a group has weight and of"),
        ({"weights": {}}, "weights: weights: names no source"),
        ({"sources": {}}, "sources is empty"),
        ({"sources": {"a": 5, "b": "x"}}, "sources.a: input should be a valid list, not 5"),
        ({"repeats": {"c": 2}}, "repeats: there is no source 'c'"),
        ({"repeats": {"a": 0}}, "repeats.a: input should be greater than 0, not 0"),
        (
            {"unit": "words"},
            "unit: input should be 'samples', 'tokens', 'images', 'characters' or 'multimodal_tokens', not 'words'",
        ),
        ({"stop": 0}, "stop.literal.*: .*; stop.*: input should be greater than 0, not 0"),
        ({"stop": True}, "stop.literal.*: .*; stop.*: input should be a valid integer, not True"),
        ({"repeats": {"a": True}}, "repeats.a: input should be a valid integer, not True"),
        ({"weight": {}}, "unknown key weight"),
    ],
)
def test_a_fault_is_named(tmp_path: Path, changes: dict[str, Any], fault: str) -> None:
    path = tmp_path / "mix.yaml"
    path.write_text(yaml.safe_dump(GOOD | changes))
    with pytest.raises(UsageError) as error:
        load_recipe(MixRecipe, str(path))
    assert re.fullmatch(f"recipe {re.escape(str(path))}: {fault}", str(error.value)), str(error.value)
