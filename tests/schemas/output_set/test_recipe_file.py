"""Tests of how a recipe's options are overridden and compared."""

from pathlib import Path
from typing import Any

import pytest

from schemas.errors import UsageError
from schemas.output_set.recipe_file import compare_recipes, ensure_option_group, read_recipe, read_stored_recipe
from schemas.storage.folder import Folder


def test_a_group_is_made_where_there_is_none() -> None:
    values: dict[str, Any] = {"run": None}
    ensure_option_group(values, ["run", "workers"])["workers"] = 2
    ensure_option_group(values, ["a", "b", "c"])["c"] = 3
    ensure_option_group(values, ["seed"])["seed"] = 4
    assert values == {"run": {"workers": 2}, "a": {"b": {"c": 3}}, "seed": 4}


def test_an_override_leaves_the_callers_values_alone() -> None:
    mine = {"samples": 4, "bytes": 1000}
    values = {"chunk": mine}
    ensure_option_group(values, ["chunk", "samples"])["samples"] = 8
    assert values == {"chunk": {"samples": 8, "bytes": 1000}}
    assert mine == {"samples": 4, "bytes": 1000}


def test_a_value_is_no_group() -> None:
    with pytest.raises(UsageError) as error:
        ensure_option_group({"steps": 7}, ["steps", "more"])
    assert str(error.value) == "recipe: steps: input should be a mapping, not 7"


def test_differences_are_named_in_order_but_for_those_that_are_free() -> None:
    held = {"seed": 0, "data": {"seed": 0, "workers": 2}, "run": {"output": "a"}, "gone": 1}
    asked = {"seed": 0, "data": {"seed": 4, "workers": 3}, "run": {"output": "b"}, "new": 2}
    assert compare_recipes(held, asked, {"run", "data.workers"}) == [
        "data.seed is 0 there and 4 here",
        "gone is 1 there and None here",
        "new is None there and 2 here",
    ]
    assert compare_recipes(held, held) == []


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("kind: mix\nseed: 1\nseed: 2\n", "line 3: the key 'seed' occurs twice: remove one of them"),
        ("a: &a {}\nb: *a\n", "line 2: aliases (*name) are not allowed: write the value out"),
    ],
)
def test_what_would_count_silently_is_refused(tmp_path: Path, text: str, line: str) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(text)
    with pytest.raises(UsageError) as error:
        read_recipe(str(path))
    assert str(error.value) == f"recipe {path}, {line}"
    with pytest.raises(UsageError, match=r"recipe\.yaml is damaged: it is not a YAML mapping$"):
        read_stored_recipe(Folder(str(tmp_path)))
