"""A recipe over a base: what merges, what replaces, what is removed, and what is refused in one line."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import UsageError
from schemas.output_set.recipe_layers import MAX_BASES, RecipeLayer, merge_layers, read_layers, read_merged_recipe

keys = st.sampled_from("abc")
values = st.recursive(
    st.none() | st.integers(0, 9), lambda inner: st.lists(inner, max_size=2) | st.dictionaries(keys, inner, max_size=3)
)
mappings = st.dictionaries(keys, values, max_size=3)


def write(folder: Path, **files: Any) -> str:
    """Writes YAML files; returns the path of the last."""
    for name, content in files.items():
        (folder / f"{name}.yaml").parent.mkdir(parents=True, exist_ok=True)
        (folder / f"{name}.yaml").write_text(content if isinstance(content, str) else yaml.safe_dump(content))
    return str(folder / f"{name}.yaml")


def read(path: str) -> dict[str, Any]:
    return read_merged_recipe(path, lambda layer, _: layer)


def merge(*layers: dict[str, Any]) -> dict[str, Any]:
    return merge_layers([RecipeLayer("", layer) for layer in layers])


@pytest.mark.parametrize(
    ("below", "above", "merged"),
    [
        ({"a": {"b": 1, "c": {"d": 2}}}, {"a": {"c": {"e": 3}}}, {"a": {"b": 1, "c": {"d": 2, "e": 3}}}),
        ({"a": [1, 2, 3]}, {"a": [4]}, {"a": [4]}),
        ({"a": 1, "b": 2}, {"a": None}, {"a": None, "b": 2}),
        ({"a": {"b": 1}}, {"a": None}, {"a": None}),
        ({"a": {"b": 1}}, {"a": 5}, {"a": 5}),
        ({"a": 5}, {"a": {"b": 1}}, {"a": {"b": 1}}),
        ({"a": {"b": 1}}, {"a": {}}, {"a": {"b": 1}}),
        ({"c": {"kind": "x", "n": 1}}, {"c": {"kind": "y", "m": 2}}, {"c": {"kind": "y", "m": 2}}),
        ({"c": {"kind": "x", "n": 1}}, {"c": {"kind": "x", "m": 2}}, {"c": {"kind": "x", "n": 1, "m": 2}}),
        ({"c": {"kind": "x", "n": 1}}, {"c": {"m": 2}}, {"c": {"kind": "x", "n": 1, "m": 2}}),
        ({"c": {"n": 1}}, {"c": {"kind": "x"}}, {"c": {"kind": "x"}}),
    ],
)
def test_what_merges(below: dict[str, Any], above: dict[str, Any], merged: dict[str, Any]) -> None:
    before = yaml.safe_dump([below, above])
    assert merge(below, above) == merged
    assert yaml.safe_dump([below, above]) == before, "neither is changed"


@given(mappings, mappings)
def test_what_the_upper_layer_says_holds(one: dict[str, Any], two: dict[str, Any]) -> None:
    merged = merge(one, two)
    assert merged.keys() == one.keys() | two.keys()
    assert all(merged[key] == value for key, value in two.items() if not isinstance(value, dict))
    assert merge(merged, two) == merged
    assert merge(one, {}) == merge({}, one) == one


def test_a_base_of_a_base(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        **{
            "low/a": {"kind": "mix", "x": {"y": 1, "z": 2}, "l": [1]},
            "b": {"base": "low/a.yaml", "x": {"y": 3}},
            "high/c": {"base": "../b.yaml", "x": {"w": None}, "l": [2, 3]},
        },
    )
    assert read(path) == {"kind": "mix", "x": {"y": 3, "z": 2, "w": None}, "l": [2, 3]}


def test_paths_are_those_of_the_file_that_names_them(tmp_path: Path) -> None:
    path = write(tmp_path, **{"low/a": {"p": "1", "q": "2"}, "b": {"base": "low/a.yaml", "q": "3"}})

    def anchor(layer: dict[str, Any], file: str) -> dict[str, Any]:
        return {key: f"{Path(file).parent.relative_to(tmp_path)}/{value}" for key, value in layer.items()}

    assert read_merged_recipe(path, anchor) == {"p": "low/1", "q": "./3"}


def test_keys_are_removed_before_the_merge(tmp_path: Path) -> None:
    below = {"s": {"a": 1, "b": 2}, "w": {"g": {"of": {"a": 1, "b": 2}}}, "t": [1]}
    above = {"base": "a.yaml", "without": ["s.a", "w.g.of.b", "t"], "s": {"c": 3}, "w": {"g": {"weight": 4}}}
    assert read(write(tmp_path, a=below, b=above)) == {
        "s": {"b": 2, "c": 3},
        "w": {"g": {"of": {"a": 1}, "weight": 4}},
    }


@pytest.mark.parametrize("name", ["s.z", "z", "z.a", "s.a.b", "t.0"])
def test_a_key_to_remove_that_is_not_there(tmp_path: Path, name: str) -> None:
    path = write(tmp_path, a={"s": {"a": 1}, "t": [1]}, b={"base": "a.yaml", "without": [name]})
    with pytest.raises(UsageError, match=f"^recipe {re.escape(path)}: without: the base has no {name}$"):
        read(path)


@pytest.mark.parametrize(
    ("above", "fault"),
    [
        ({"base": 3}, "base: input should be the path of a recipe, not 3"),
        ({"base": ["a.yaml"]}, r"base: input should be the path of a recipe, not \['a.yaml'\]"),
        ({"base": ""}, "base: input should be the path of a recipe, not ''"),
        ({"base": "none.yaml"}, "base: there is no file .*/none.yaml"),
        ({"base": "."}, "base: there is no file .*"),
        ({"base": "/dev/zero"}, "base: there is no file /dev/zero"),
        ({"base": "a.yaml", "without": "s.a"}, "without: input should be a list of keys such as .*, not 's.a'"),
        ({"base": "a.yaml", "without": [1]}, r"without: input should be a list of keys such as .*, not \[1\]"),
        ({"without": ["s.a"]}, "without removes keys of a base, and there is none: leave it out"),
    ],
)
def test_what_is_refused(tmp_path: Path, above: dict[str, Any], fault: str) -> None:
    path = write(tmp_path, a={"s": {"a": 1}}, b=above)
    with pytest.raises(UsageError) as error:
        read(path)
    assert re.fullmatch(f"recipe {re.escape(path)}: {fault}", str(error.value)), str(error.value)


def test_a_base_that_is_no_recipe_is_named_itself(tmp_path: Path) -> None:
    path = write(tmp_path, a="- 1\n", b={"base": "a.yaml"})
    with pytest.raises(UsageError, match=r"^recipe \S+/a\.yaml is not a mapping$"):
        read(path)
    write(tmp_path, a="x: !!python/object/apply:os.system [id]\n")
    with pytest.raises(UsageError, match=r"^recipe \S+/a\.yaml is not valid YAML: could not determine a constructor"):
        read(path)


def test_circles_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path, a={"base": "b.yaml"}, b={"base": "a.yaml"})
    with pytest.raises(UsageError) as error:
        read(path)
    assert str(error.value) == (
        f"recipe {path}: base: {tmp_path}/b.yaml -> {tmp_path}/a.yaml -> {tmp_path}/b.yaml is a circle"
    )
    (tmp_path / "link.yaml").symlink_to(tmp_path / "self.yaml")
    path = write(tmp_path, self={"base": "link.yaml"})
    with pytest.raises(UsageError, match=r"is a circle$"):
        read(path)


def test_a_chain_without_end_is_refused(tmp_path: Path) -> None:
    files = {f"r{number}": {"base": f"r{number - 1}.yaml"} for number in range(1, MAX_BASES + 2)}
    path = write(tmp_path, r0={"x": 1}, **files)
    with pytest.raises(UsageError, match=f"base: over {MAX_BASES} files below one another$"):
        read(path)
    assert read(str(tmp_path / f"r{MAX_BASES}.yaml")) == {"x": 1}


def test_a_base_of_another_kind_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, a={"kind": "train"}, b={"base": "a.yaml", "kind": "mix"})
    with pytest.raises(UsageError) as error:
        read(path)
    assert str(error.value) == f"recipe {path} is of the kind 'mix', and its base {tmp_path}/a.yaml of the kind 'train'"
    assert read(write(tmp_path, a={}, b={"base": "a.yaml", "kind": "mix"})) == {"kind": "mix"}


@pytest.mark.parametrize("base", ["/etc/passwd", "../a.yaml", "s3://other/a.yaml", "file:///etc/passwd", "x/../../a"])
def test_a_recipe_at_an_address_reads_no_file_outside_of_its_folder(tmp_path: Path, base: str) -> None:
    """It may be somebody else's: it must not choose which files of this machine are read."""
    write(tmp_path, **{"f/b": {"base": base}, "a": {"x": 1}})
    path = f"file://{tmp_path}/f/b.yaml"
    with pytest.raises(UsageError) as error:
        read(path)
    assert str(error.value) == f"recipe {path}: base: {base!r} is not in the recipe's folder at that URL"


def test_a_base_at_an_address(tmp_path: Path) -> None:
    write(tmp_path, **{"f/g/a": {"x": 1}, "f/b": {"base": "g/a.yaml", "y": 2}})
    assert read(f"file://{tmp_path}/f/b.yaml") == {"x": 1, "y": 2}
    assert read(write(tmp_path, c={"base": f"file://{tmp_path}/f/b.yaml"})) == {"x": 1, "y": 2}


def test_each_layer_knows_the_kind_and_the_family(tmp_path: Path) -> None:
    path = write(tmp_path, a={"kind": "render", "family": "ocr"}, b={"base": "a.yaml", "x": 1})
    assert [layer.values for layer in read_layers(path)] == [
        {"kind": "render", "family": "ocr"},
        {"kind": "render", "family": "ocr", "x": 1},
    ]
