"""A recipe's paths are relative to the recipe; all else that it holds stays as it is."""

from pathlib import Path
from typing import Annotated, Any

import pytest
from pydantic import Field

from schemas.output_set.options import Globs, Options, PathOrName, RecipePath
from schemas.output_set.recipe_paths import RelativeToRecipe, anchor_paths


class Part(Options):
    weights: PathOrName | None = None
    depth: int = 1


class Asked(Options):
    input: Globs = Field(min_length=1)
    output: RecipePath | None = None
    sources: dict[str, Globs] = Field({})
    part: Part | None = None
    marked: Annotated[dict[str, Any], RelativeToRecipe(keys=("file", "files"))] = Field({})
    name: str = "a/b"


@pytest.mark.parametrize(
    ("recipe", "input_", "expected"),
    [
        ("all.yaml", "images/*.tar", "images/*.tar"),
        ("recipes/all.yaml", "images/*.tar", "recipes/images/*.tar"),
        ("recipes/all.yaml", "../images/{00..09}.tar", "images/{00..09}.tar"),
        ("../all.yaml", "0.tar", "../0.tar"),
        ("/data/all.yaml", ["0.tar", "/other/1.tar"], ["/data/0.tar", "/other/1.tar"]),
        ("recipes/all.yaml", "s3://bucket/0.tar", "s3://bucket/0.tar"),
        ("s3://bucket/recipes/all.yaml", "images/*.tar", "s3://bucket/recipes/images/*.tar"),
        ("set [v1]/all.yaml", "*.tar", "set [v1]/*.tar"),  # it exists, so it is no pattern
        ("u{a,b}/all.yaml", "{0..1}.tar", "u{a,b}/{0..1}.tar"),
        ("set [v1]/all.yaml", "0.tar", "set [v1]/0.tar"),
        ("recipes/all.yaml", 3, 3),  # refused later, by name
        ("recipes/all.yaml", {"a": "b"}, {"a": "b"}),
    ],
)
def test_paths_of_a_list(recipe: str, input_: object, expected: object) -> None:
    assert anchor_paths({"input": input_}, Asked, recipe) == {"input": expected}


def test_each_kind_of_option(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text("{}")
    values: dict[str, Any] = {
        "output": "out",
        "sources": {"html": "sets/html", "pdf": ["sets/a", "sets/b"]},
        "part": {"weights": "tokenizer.json", "depth": 2},
        "marked": {"file": "m", "files": ["m", {"file": "n"}], "label": "m", "count": 1},
        "name": "a/b",
        "unknown": "a/b",
    }
    recipe = str(tmp_path / "all.yaml")
    assert anchor_paths(values, Asked, recipe) == values | {
        "output": f"{tmp_path}/out",
        "sources": {"html": f"{tmp_path}/sets/html", "pdf": [f"{tmp_path}/sets/a", f"{tmp_path}/sets/b"]},
        "part": {"weights": f"{tmp_path}/tokenizer.json", "depth": 2},
        "marked": {
            "file": f"{tmp_path}/m",
            "files": [f"{tmp_path}/m", {"file": f"{tmp_path}/n"}],
            "label": "m",
            "count": 1,
        },
    }
    named = {"part": {"weights": "google/siglip"}}
    assert anchor_paths(named, Asked, recipe) == named
    empty = {"output": None, "sources": None, "part": 3}
    assert anchor_paths(empty, Asked, recipe) == empty
