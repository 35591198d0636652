"""Run by torchrun on two gloo ranks: the same steps as one process, sharded or replicated. Prints what came of them."""

import json
import sys
from pathlib import Path

import torch
from torch.distributed.tensor import DTensor

from tests.training.support import runs
from training.checkpoint import CheckpointSaver, RunState
from training.parallel import init_distributed
from training.recipe import CheckpointOptions


def main(kind: str, tokenizer: str, folder: str) -> None:
    """`steps` of four sequences each, two of them with images; on two ranks one rank has those, the other has none."""
    asked = runs.recipe(Path(tokenizer), parallel=kind, global_batch_size=4)
    with init_distributed(asked.run, kind) as ranks:
        held = runs.trainer(asked, ranks)
        losses = []
        for number in range(4):
            batches = [runs.batch(4 * number + at, images=at < 2) for at in range(4)]
            share = len(batches) // ranks.world_size
            own = batches[ranks.rank * share : (ranks.rank + 1) * share]
            outcome = runs.step(held, own, number)
            losses.append([outcome.loss, outcome.gradient_norm, *outcome.loss_sums])
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
        if ranks.is_first:
            Path(folder, "found.json").write_text(json.dumps(found))


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(*sys.argv[1:])
