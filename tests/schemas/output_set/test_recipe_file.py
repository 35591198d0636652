"""Tests of how a recipe's options are overridden and compared."""

from pathlib import Path
from typing import Any, Literal

import pytest
from pydantic import BaseModel, Field, field_validator

from pipelines.recipes.ingest import IngestRecipe
from pipelines.recipes.mix import MixRecipe
from pipelines.recipes.render import RenderRecipe
from schemas.errors import UsageError
from schemas.output_set.options import Options
from schemas.output_set.recipe_file import (
    MissingOptions,
    apply_override,
    compare_recipes,
    dump_yaml,
    ensure_option_group,
    format_value,
    read_recipe,
    read_stored_recipe,
    validate_options,
)
from schemas.storage.folder import Folder
from tests.support.s3.bucket import Bucket
from training.model.config import ModelOptions


def test_a_recipe_is_a_local_file_or_at_an_address(tmp_path: Path, bucket: Bucket) -> None:
    (tmp_path / "a.yaml").write_text("seed: 1")
    bucket.store.put(f"{bucket.url}/a.yaml", b"seed: 2")
    assert read_recipe(str(tmp_path / "a.yaml")) == {"seed": 1}
    assert read_recipe(f"{bucket.url}/a.yaml") == {"seed": 2}
    with pytest.raises(UsageError, match=rf"^cannot read recipe {tmp_path}/b\.yaml: No such file or directory$"):
        read_recipe(str(tmp_path / "b.yaml"))
    with pytest.raises(UsageError, match=rf"^recipe: cannot read {bucket.url}/b\.yaml: "):
        read_recipe(f"{bucket.url}/b.yaml")


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


def test_a_value_is_shown_cut_and_without_secrets() -> None:
    assert format_value("x" * 1_000_000) == "'" + "x" * 79 + "..."
    assert format_value(16**5000) == "a number that is too long"
    assert format_value("x" * 60 + " s3://key:secret-of-many-characters@bucket/a") == f"'{'x' * 60} s3://***@bucket/a'"


def test_missing_options_are_named_where_nothing_else_is_wrong() -> None:
    with pytest.raises(MissingOptions) as missing:
        validate_options(MixRecipe, {}, None)
    assert missing.value.names == ["sources", "weights"]
    assert str(missing.value) == "recipe: sources: field required; weights: field required"
    for values, path, line in (
        ({}, "a.yaml", "recipe a.yaml: sources: field required; weights: field required"),
        ({"seed": "x"}, None, "recipe: sources: field required; weights: field required; seed: "),
    ):
        with pytest.raises(UsageError) as error:
            validate_options(MixRecipe, values, path)
        assert not isinstance(error.value, MissingOptions)
        assert str(error.value).startswith(line)


LONG = "x" * 200_000


@pytest.mark.parametrize(
    ("model", "values"),
    [
        (MixRecipe, {"sources": {"a": "b"}, "weights": {LONG: 1}}),
        (MixRecipe, {"sources": {"a": "b"}, "weights": {"a": LONG}}),
        (MixRecipe, {"sources": {"a": "b"}, "weights": {"a": 1}, "repeats": {LONG: 1}}),
        (IngestRecipe, {"source": LONG, "input": ["a"]}),
        (RenderRecipe, {"family": f"{LONG}:a", "input": "a"}),
        (ModelOptions, {"connector": {"kind": LONG}}),
    ],
)
def test_errors_of_our_own_validators_are_short(model: type[BaseModel], values: dict[str, Any]) -> None:
    with pytest.raises(UsageError) as error:
        validate_options(model, values, "a.yaml")
    assert len(str(error.value)) < 2000


class Inner(Options):
    depth: int = 1


class Asked(Options):
    names: list[str] = Field(["a"], min_length=1)
    inner: Inner = Inner()
    levels: dict[Literal["low", "high"], int] = Field({})
    seed: int = 0
    even: int = 0
    settings: dict[str, str | int | float | bool] = Field(default_factory=dict)

    @field_validator("even")
    @classmethod
    def _check_even(cls, even: int) -> int:
        if even % 2:
            raise ValueError("an odd number: " + "9" * even)
        return even


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ({"colour": 1}, "unknown key colour"),
        ({"inner": {"width": 1}}, "unknown key inner.width"),
        ({"x" * 81: 1}, f"unknown key {'x' * 80}..."),
        ({"x" * 80: 1}, f"unknown key {'x' * 80}"),
        ({"levels": {"middle": 1}}, "unknown key levels.middle: use 'low' or 'high'"),
        ({"names": []}, "names is empty"),
        ({"names": ["a", 1]}, "names.1: input should be a valid string, not 1"),
        ({"inner": 3}, "inner: input should be a mapping, not 3"),
        ({"levels": [1]}, "levels: input should be a mapping, not [1]"),
        ({"seed": "x"}, "seed: input should be a valid integer, unable to parse string as an integer, not 'x'"),
        (
            {"settings": {"a": {"b": 1}, "c": []}, "even": "x"},
            "even: input should be a valid integer, unable to parse string as an integer, not 'x'; settings.a: input "
            "should be a text or a whole number or a number or true or false, not {'b': 1}; settings.c: input should "
            "be a text or a whole number or a number or true or false, not []",
        ),
        ({"even": 3}, "even: an odd number: 999"),
        ({"even": 585}, f"even: an odd number: {'9' * 585}"),
        ({"even": 587}, f"even: an odd number: {'9' * 285}...{'9' * 300}"),
        ({"a": 1, "b": 1}, "unknown key a; unknown key b"),
        ({f"k{n}": 1 for n in range(10, 30)}, "; ".join(f"unknown key k{n}" for n in range(10, 30))),
        (
            {f"k{n}": 1 for n in range(10, 32)},
            "; ".join(f"unknown key k{n}" for n in range(10, 30)) + "; and 2 more",
        ),
    ],
)
def test_faulty_fields_are_named(values: dict[str, Any], line: str) -> None:
    for path, place in ((None, "recipe"), ("a.yaml", "recipe a.yaml")):
        with pytest.raises(UsageError) as error:
            validate_options(Asked, values, path)
        assert str(error.value) == f"{place}: {line}"


def test_a_recipe_is_read_as_it_is_written(tmp_path: Path) -> None:
    path, values = tmp_path / "a.yaml", {"kind": "mix", "name": "é", "list": [2, 1]}
    for place in (str(path), "memory://recipes/a.yaml"):
        Folder(place.rpartition("/")[0]).write("a.yaml", dump_yaml(values))
        assert read_recipe(place) == values
    assert path.read_text() == "kind: mix\nname: é\nlist:\n- 2\n- 1\n"
    path.write_text("")
    assert read_recipe(str(path)) == {}
    for data, line in (
        (b"- a", f"recipe {path} is not a mapping"),
        (b"\xff", f"recipe {path} is not valid YAML: 'utf-8' codec can't decode byte 0xff in position 0: "),
        (b"a: [", f"recipe {path} is not valid YAML: while parsing a flow node"),
    ):
        path.write_bytes(data)
        with pytest.raises(UsageError) as error:
            read_recipe(str(path))
        assert str(error.value).startswith(line)
    for place, line in (
        (f"{tmp_path}/b.yaml", f"cannot read recipe {tmp_path}/b.yaml: No such file or directory"),
        ("memory://recipes/b.yaml", "recipe: cannot read memory://recipes/b.yaml: "),
    ):
        with pytest.raises(UsageError) as error:
            read_recipe(place)
        assert str(error.value).startswith(line)


def test_a_stored_recipe_is_a_mapping_in_a_set(tmp_path: Path) -> None:
    folder = Folder(str(tmp_path))
    with pytest.raises(UsageError, match=rf"^{tmp_path} is not an output set: it has no recipe\.yaml$"):
        read_stored_recipe(folder)
    folder.write("recipe.yaml", b"kind: mix\n")
    assert read_stored_recipe(folder) == {"kind": "mix"}
    for data in (b"- a", b"a: [", b"\xff", b""):
        folder.write("recipe.yaml", data)
        with pytest.raises(UsageError, match=rf"^{tmp_path}/recipe\.yaml is damaged: it is not a YAML mapping$"):
            read_stored_recipe(folder)


def test_an_override_sets_one_option() -> None:
    values: dict[str, Any] = {"run": {"workers": 1}, "seed": 0}
    for override in ("run.workers=4", "run.more.name=a=b", "seed=", "list=[1, x]"):
        apply_override(values, override)
    assert values == {"run": {"workers": 4, "more": {"name": "a=b"}}, "seed": None, "list": [1, "x"]}


@pytest.mark.parametrize(
    ("override", "line"),
    [
        ("seed", "'seed' is not key=value, such as run.workers=4"),
        ("=4", "'=4' is not key=value, such as run.workers=4"),
        ("run..workers=4", "'run..workers=4' is not key=value, such as run.workers=4"),
        ("seed=[1", "seed: '[1' is not valid YAML: while parsing a flow sequence"),
        ("seed=*a", "seed: '*a' is not valid YAML: "),
    ],
)
def test_an_override_of_another_form_is_refused(override: str, line: str) -> None:
    values: dict[str, Any] = {}
    with pytest.raises(UsageError) as error:
        apply_override(values, override)
    assert str(error.value).startswith(line)
    assert "\n" not in str(error.value)
    assert values == {}
