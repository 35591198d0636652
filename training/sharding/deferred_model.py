"""Builds the model of a sharded run without ever holding it whole: on `meta` first, then each rank fills its shards."""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from training.checkpoint import is_checkpoint, load_weights, open_checkpoint
from training.checkpoint_model import build_initial_model, check_frozen_weights, read_checkpoint_recipe
from training.model.init_changes import VISION
from training.model.lmm import ResamplerLMM
from training.model.new_weights import Recording, record_new_weights
from training.model.pretrained import load_exported
from training.model.weights import copy_rows, list_tensors
from training.optimizer import freeze, select_trainable
from training.parallel import Ranks, resolve_parallelism
from training.recipe import TrainRecipe
from training.sharding.part_weights import can_read_parts, load_parts


@dataclass(frozen=True, slots=True)
class DeferredModel:
    """Holds a model on `meta`, and what its weights are to be."""

    model: ResamplerLMM
    recipe: TrainRecipe
    recording: Recording
    tensors: dict[str, Tensor]  # on `meta`, as they were before sharding, by name
    source: "DeferredModel | None"  # that of the run whose checkpoint this one starts from

    def fill(self, target: ResamplerLMM, ranks: Ranks) -> None:
        """Gives a model of the same shapes, sharded and on its device, the weights that training starts from.

        They are those of a model built whole. A rank holds one whole tensor at a time beside its shards, and reads
        from files the rows of its shards alone. Raises `UsageError` when a checkpoint's run started from other weights
        than there are now.
        """
        own = list_tensors(target)
        with torch.no_grad():
            for name, value in self.recording.replay(self.tensors):
                copy_rows(own[name], value)
            if self.source is not None:
                self._fill_from_checkpoint(self.source, target, ranks)
            elif self.recipe.init_from is None:
                load_parts(self.model, target)
            else:
                load_exported(target, Path(self.recipe.init_from), self.recipe.init_changes)

    def _fill_from_checkpoint(self, source: "DeferredModel", target: ResamplerLMM, ranks: Ranks) -> None:
        assert self.recipe.init_from is not None
        checkpoint = open_checkpoint(Path(self.recipe.init_from), ranks)
        source.fill(target, ranks)
        own, trained = list_tensors(target), select_trainable(source.model)
        frozen = {name: own[name] for name, _ in source.model.named_parameters() if name not in trained}
        check_frozen_weights(checkpoint, frozen)
        load_weights(checkpoint, {name: own[name] for name in trained}, ranks.checkpoint_group)


def defer_model(recipe: TrainRecipe, ranks: Ranks) -> DeferredModel | None:
    """Builds the recipe's model on `meta`, with the parts frozen that are not trained.

    Returns None where the model must be built whole: it is not sharded, or its weights come from a file of LAVIS'
    trainer, from a checkpoint with `init_changes`, from a model that gets a tower of other files, or from a pretrained
    part's files in another layout than the model's. Raises `UsageError` as `build_model` does.
    """
    return _defer(recipe, ranks) if resolve_parallelism(recipe.parallel, ranks.world_size) == "fsdp" else None


def _defer(recipe: TrainRecipe, ranks: Ranks) -> DeferredModel | None:
    start, source = None if recipe.init_from is None else Path(recipe.init_from), None
    if start is not None and is_checkpoint(start):
        if recipe.init_changes:
            return None
        checkpoint = open_checkpoint(start, ranks, check_hashes=False)
        if (source := _defer(read_checkpoint_recipe(checkpoint), ranks)) is None:
            return None
    elif start is not None and (start.is_file() or VISION in recipe.init_changes):
        return None
    with record_new_weights() as recording:
        model = build_initial_model(recipe, "meta", ranks)
    if start is None and not can_read_parts(model):
        return None
    freeze(model, recipe.optimizer.lr)
    return DeferredModel(model, recipe, recording, list_tensors(model), source)
