"""Run by torchrun on two gloo ranks: two sharded steps with each connector and mode. Writes what came of them."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import torch
from torch.nn import functional

from tests.training.support import runs, tiny
from training.batch import Batch
from training.model.config import ModelOptions
from training.parallel import Ranks, init_distributed

STEPS = 2


def take_steps(case: str, tokenizer: Path, ranks: Ranks) -> list[list[float]]:
    """Of four sequences each; on two ranks one rank has those with images, the other has none."""
    changes = {"connector": tiny.connector(case)} if case in tiny.CONNECTORS else tiny.MODES[case]
    model = tiny.options(tokenizer, **changes)
    lr = {"tower": 1e-3 if case == "clip" else 0, "connector": 1e-3, "language": 1e-3}
    parallel = "none" if ranks.world_size == 1 else "fsdp"
    asked = {"model": model.model_dump(), "parallel": parallel, "global_batch_size": 4, "optimizer": {"lr": lr}}
    held = runs.trainer(runs.recipe(tokenizer, **asked), ranks)
    found = []
    for number in range(STEPS):
        batches = [make_batch(4 * number + at, at < 2, model) for at in range(4)]
        share = len(batches) // ranks.world_size
        outcome = runs.step(held, batches[ranks.rank * share : (ranks.rank + 1) * share], number)
        found.append([outcome.loss, outcome.gradient_norm, *outcome.loss_sums])
    return found


def make_batch(seed: int, images: bool, model: ModelOptions) -> Batch:
    """A sequence with an image of several tiles, or of one that is padded, as the model takes it, or with texts."""
    if model.vision is None:
        return runs.batch(seed, images=False)
    tiling, side = model.any_resolution, model.vision.image_size or 56
    tiles = 3 if tiling.enabled else 1
    batch = runs.batch(seed, images=images, tiles=tiles, fixed_sampling=tiling.fixed_sampling)
    if not images:
        return replace(batch, tiles=batch.tiles.new_zeros((0, 3, side, side)))
    valid = torch.ones((tiles, (side // 14) ** 2), dtype=torch.bool)
    valid[-1, 3:] = tiling.fixed == "squash" and not tiling.enabled
    pixels = functional.interpolate(batch.tiles.float(), (side, side)).to(torch.uint8)
    return replace(batch, tiles=pixels, valid=valid)


def main(tokenizer: str, folder: str) -> None:
    """One launch serves all kinds, because the launch takes longer than the steps."""
    asked = runs.recipe(Path(tokenizer), parallel="fsdp")
    with init_distributed(asked.run, "fsdp") as ranks:
        found = {case: take_steps(case, Path(tokenizer), ranks) for case in (*tiny.CONNECTORS, *tiny.MODES)}
        if ranks.is_first:
            Path(folder, "found.json").write_text(json.dumps(found))


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(*sys.argv[1:])
