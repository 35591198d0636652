"""Two recipes of tiny models that differ in their learning rate, and a task of pictures."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from schemas.output_set.recipe_file import dump_yaml
from tests.conftest import jpeg
from tests.training.support import runs, tiny
from training.recipe import TrainRecipe

COUNT = 6


@dataclass(frozen=True, slots=True)
class Inputs:
    """Holds the files of a comparison."""

    folder: Path
    recipe: TrainRecipe  # of two steps
    first: Path
    second: Path
    task: Path

    def write_recipe(self, name: str, **changes: Any) -> Path:
        """The recipe with these changes; its file."""
        values = self.recipe.model_dump(mode="json")
        values |= changes | {"data": values["data"] | changes.get("data", {})}
        path = self.folder / f"{name}.yaml"
        path.write_bytes(dump_yaml(values))
        return path

    def write_task(self, name: str, count: int = COUNT, **changes: Any) -> Path:
        """A task of so many pictures; its file."""
        rows = []
        for number in range(count):
            (self.folder / f"{number}.jpg").write_bytes(jpeg(number))
            rows.append({"id": str(number), "image": f"{number}.jpg", "answers": [f"picture {number}"]})
        (self.folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        values = {"questions": {"path": f"{name}.jsonl"}, "metric": "error_rates", "max_new_tokens": 3}
        path = self.folder / f"{name}.yaml"
        path.write_bytes(dump_yaml(values | changes))
        return path


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Inputs:
    """The files."""
    folder = tmp_path_factory.mktemp("compared")
    tiny.write_tokenizer(folder / "tokenizer")
    data = {"workers": 0, "packing_window": 8}
    recipe = runs.packed(folder, folder / "tokenizer", data=data, steps=2, run={"peak_tflops": 1.0})
    made = Inputs(folder, recipe, folder / "first.yaml", folder / "second.yaml", folder / "pictures.yaml")
    made.write_recipe("first")
    made.write_recipe("second", optimizer={"lr": {"connector": 1e-2, "language": 1e-2}})
    made.write_task("pictures")
    return made
