"""Trains the model of `recipes/train/tiny.yaml` on other data, on the CPU."""

import json
from pathlib import Path
from typing import Any

from training.recipe import TrainRecipe

RECIPES = Path(__file__).parents[1] / "recipes/train"


def load_tiny_recipe(captions: Path, run: Path, seed: int, steps: int, changes: dict[str, Any]) -> TrainRecipe:
    """Returns the tiny model's recipe for a set of captions that repeats without end, with further `changes` by key.

    `seed` decides the new weights, the order of the samples, and dropout. `run` is the run's folder, whose parent keeps
    the tables of lengths.
    """
    from training.recipe import load_train_recipe

    values: dict[str, Any] = {
        "data.sources": {"captions": [str(captions)]},
        "data.weights": {"captions": 1},
        "data.repeats": {"captions": None},
        "data.texts": {},
        "data.seed": seed,
        "data.cache": str(run.parent / "tables"),
        "model.tokenizer": str(RECIPES / "tiny/tokenizer.json"),
        "model.seed": seed,
        "seed": seed,
        "steps": steps,
        "run.device": "cpu",
    }
    overrides = [f"{key}={json.dumps(value)}" for key, value in (values | changes).items()]
    return load_train_recipe(str(RECIPES / "tiny.yaml"), overrides, str(run))
