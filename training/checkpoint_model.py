"""Builds the model of a checkpoint: its trained weights, over the frozen ones from where its run had them.

So a checkpoint serves as an export does: another run starts from it, and a model generates with it.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor

from schemas.errors import UsageError
from schemas.output_set.recipe_file import RECIPE_FILE, validate_options
from schemas.output_set.recipe_paths import anchor_paths
from training.checkpoint import COMMIT_FILE, Checkpoint, is_checkpoint, load_weights, open_checkpoint
from training.data.templates.prompts import resolve_prompts
from training.model.config import PromptOptions
from training.model.lmm import ResamplerLMM
from training.model.pretrained import build_like, build_model, load_pretrained, read_prompts
from training.model.tokens import TextTokenizer, load_tokenizer
from training.model.weights import get_plain_name
from training.optimizer import freeze, select_trainable
from training.parallel import Ranks
from training.recipe import TrainRecipe
from training.renamed_keys import rename_keys

_ALONE = Ranks()


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """Holds a trained model, on the CPU, and what belongs to it."""

    model: ResamplerLMM
    tokenizer: TextTokenizer
    prompts: PromptOptions


def load_model(folder: Path) -> LoadedModel:
    """Loads the model of an export or a checkpoint. Raises `UsageError` for another or a damaged folder."""
    if is_checkpoint(folder):
        return load_checkpoint_model(open_checkpoint(folder, _ALONE))
    return LoadedModel(*load_pretrained(folder), read_prompts(folder))


def load_checkpoint_model(checkpoint: Checkpoint, ranks: Ranks = _ALONE) -> LoadedModel:
    """Loads the model of a checkpoint.

    Raises `UsageError` when what its run started from is not there any more, or has changed.
    """
    recipe = read_checkpoint_recipe(checkpoint)
    model = build_initial_model(recipe, "cpu", ranks)
    freeze(model, recipe.optimizer.lr)
    check_frozen_weights(checkpoint, select_frozen(model))
    load_weights(checkpoint, select_trainable(model))
    tokenizer = load_tokenizer(recipe.model)
    return LoadedModel(model.eval(), tokenizer, resolve_prompts(tokenizer, recipe.data))


def build_initial_model(recipe: TrainRecipe, device: str = "cpu", ranks: Ranks = _ALONE) -> ResamplerLMM:
    """Builds the recipe's model, whole and on one device, with the weights that its training starts from.

    On `meta` only configurations and sizes are checked. Raises `UsageError` as `build_model` does.
    """
    if recipe.init_from is None or not is_checkpoint(Path(recipe.init_from)):
        return build_model(recipe.model, device, recipe.init_from, recipe.init_changes)
    checkpoint = open_checkpoint(Path(recipe.init_from), ranks, check_hashes=device != "meta")
    if device == "meta":
        source = build_initial_model(read_checkpoint_recipe(checkpoint), device)
    else:
        source = load_checkpoint_model(checkpoint, ranks).model
    return build_like(recipe.model, source, checkpoint.folder, device, recipe.init_changes)


def read_checkpoint_recipe(checkpoint: Checkpoint) -> TrainRecipe:
    """Returns the recipe of a checkpoint's run; its relative paths are taken from the folder where the run started."""
    values, started_in = rename_keys(checkpoint.state.recipe)[0], checkpoint.state.working_folder
    if started_in and Path(started_in).is_dir():  # else it was on another machine: they are taken from here
        values = anchor_paths(values, TrainRecipe, f"{started_in}/{RECIPE_FILE}")
    return validate_options(TrainRecipe, values, str(checkpoint.folder / COMMIT_FILE))


def select_frozen(model: ResamplerLMM) -> dict[str, Tensor]:
    """Returns the frozen weights by the names that they had before their modules were wrapped."""
    return {get_plain_name(name): one for name, one in model.named_parameters() if not one.requires_grad}


def hash_weights(weights: Mapping[str, Tensor]) -> str:
    """Returns the SHA-256 of the names and values of weights, which frozen ones are known by.

    Where they are sharded, all ranks must call it, since they gather one after another.
    """
    digest = hashlib.sha256()
    for name in sorted(weights):
        held = weights[name].detach()
        value = held.full_tensor() if isinstance(held, DTensor) else held
        digest.update(name.encode())
        digest.update(value.cpu().contiguous().view(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def check_frozen_weights(checkpoint: Checkpoint, frozen: Mapping[str, Tensor]) -> None:
    """Raises `UsageError` when these are not the frozen weights of the checkpoint's run."""
    if hash_weights(frozen) != checkpoint.state.frozen:
        raise UsageError(f"{checkpoint.folder}: the frozen weights are not those of its run; restore them")
