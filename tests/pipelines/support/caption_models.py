"""Tiny models that caption images in runs, and the recipe of the captions that they write."""

from pathlib import Path
from typing import Any

from schemas.output_set.recipe_file import read_recipe
from tests.conftest import REPOSITORY
from tests.curation.engines.support.tiny_captioner import save_tiny_llama, save_tiny_llava
from training.model.config import ModelOptions
from training.model.lmm import ResamplerLMM
from training.model.pretrained import save_pretrained
from training.model.tokens import load_tokenizer

SHARDLOOM = "training.captions.engine:ENGINE"
"""What to trust where the package is not installed with its entry point."""

RECIPE = REPOSITORY / "recipes/train/tiny.yaml"


def save_demo_model(folder: Path) -> None:
    """An untrained model of the demo's configuration, with weights that say more than one thing."""
    values = read_recipe(str(RECIPE))["model"] | {"tokenizer": str(RECIPE.parent / "tiny/tokenizer.json")}
    options = ModelOptions.model_validate(values)
    model = ResamplerLMM.build(options)
    for name, parameter in model.named_parameters():
        if "norm" not in name and parameter.ndim > 1:
            parameter.data.mul_(4.0)
    save_pretrained(model, load_tokenizer(options), folder)


def make_captions(folder: Path) -> dict[str, Any]:
    """Saves the models, and returns captions: by both engines of the image, and one that rewrites the others."""
    for name, save in (("llava", save_tiny_llava), ("llama", save_tiny_llama), ("demo", save_demo_model)):
        save(folder / name)
    (folder / "dense.txt").write_text("{alt_text}\n")
    (folder / "own.txt").write_text("The page says: {alt_text}\n")
    (folder / "both.txt").write_text("{dense} / {own}\n")

    def describe(engine: str, model: str, prompt: str, **settings: Any) -> dict[str, Any]:
        shared = {"weights": str(folder / model), "max_new_tokens": 12, "images_per_pass": 3}
        asked = {"engine": engine, "settings": shared | settings, "prompt": str(folder / prompt)}
        return asked | {"batch_size": 4}

    return {
        "dense": describe("transformers", "llava", "dense.txt"),
        "own": describe("shardloom", "demo", "own.txt"),
        "both": describe("transformers", "llama", "both.txt", send_image=False),
    }
