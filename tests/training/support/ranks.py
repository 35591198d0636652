"""Run by torchrun on two gloo ranks: the same steps as one process, sharded or replicated. Prints what came of them."""

import json
import sys
from pathlib import Path
from typing import Any

import torch
from torch.distributed.tensor import DTensor

from tests.training.support import runs
from training.checkpoint import CheckpointSaver, RunState
from training.model.weights import list_tensors
from training.optimizer import make_optimizer
from training.parallel import Ranks, init_distributed, parallelize
from training.recipe import CheckpointOptions, TrainRecipe
from training.set_up import prepare_model
from training.sharding.deferred_model import defer_model
from training.step import Trainer


def take_steps(held: Trainer) -> list[list[float]]:
    """Takes four steps of four sequences each, two micro-batches on a rank of two; returns the losses and norms."""
    losses, ranks = [], held.ranks
    for number in range(4):
        batches = [runs.batch(4 * number + at, images=at < 2) for at in range(4)]
        share = len(batches) // ranks.world_size
        outcome = runs.step(held, batches[ranks.rank * share : (ranks.rank + 1) * share], number)
        losses.append([outcome.loss, outcome.gradient_norm, *outcome.loss_sums])
    return losses


def compare_deferred(asked: TrainRecipe, ranks: Ranks) -> dict[str, Any]:
    """Builds the model on `meta` and shards it before it has weights, and sums its gradients in each micro-batch.

    Returns the tensors that are not those of a whole model, and the losses.
    """
    recipe = asked.model_copy(update={"reduce_gradients": "micro_batch"})
    deferred = defer_model(recipe, ranks)
    assert deferred is not None
    model = parallelize(deferred.model, recipe, ranks).train()
    deferred.fill(deferred.model, ranks)
    unequal = []
    whole = list_tensors(prepare_model(asked))
    for name, tensor in list_tensors(deferred.model).items():
        value = tensor.full_tensor() if isinstance(tensor, DTensor) else tensor
        if not torch.equal(value, whole[name]):
            unequal.append(name)
    optimizer = make_optimizer(model, recipe.optimizer, recipe.optimizer.lr)
    held = Trainer(recipe, ranks, model, optimizer, torch.ones(len(recipe.sources)))
    return {"unequal": unequal, "in each micro-batch": take_steps(held)}


def main(kind: str, tokenizer: str, folder: str) -> None:
    """`steps` of four sequences each, two of them with images; on two ranks one rank has those, the other has none."""
    asked = runs.recipe(Path(tokenizer), parallel=kind, global_batch_size=4)
    with init_distributed(asked.run, kind) as ranks:
        held = runs.trainer(asked, ranks)
        losses = take_steps(held)
        sharded = {name for name, p in held.model.named_parameters() if isinstance(p, DTensor)}
        saver = CheckpointSaver(Path(folder), CheckpointOptions(), ranks)
        with saver:
            saver.save(held.model, held.optimizer, RunState(4, {"window": 1, "pack": 2}, "data", "", {}, {}))
        assert saver.failure is None, saver.failure
        found = {
            "losses": losses,
            "sharded": sorted(sharded),
            "whole": sorted(name for name, _ in held.model.named_parameters() if name not in sharded),
        }
        if kind == "fsdp":
            found |= compare_deferred(asked, ranks)
        if ranks.is_first:
            Path(folder, "found.json").write_text(json.dumps(found))


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(*sys.argv[1:])
