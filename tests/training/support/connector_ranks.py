"""Run by torchrun on two gloo ranks: two sharded steps with a connector of each kind. Writes what came of them."""

import json
import sys
from pathlib import Path

import torch

from tests.training.support import runs, tiny
from training.parallel import Ranks, init_distributed

STEPS = 2


def take_steps(kind: str, tokenizer: Path, ranks: Ranks) -> list[list[float]]:
    """Of four sequences each; on two ranks one rank has those with images, the other has none."""
    model = tiny.options(tokenizer, connector=tiny.connector(kind)).model_dump()
    parallel = "none" if ranks.world_size == 1 else "fsdp"
    held = runs.trainer(runs.recipe(tokenizer, model=model, parallel=parallel, global_batch_size=4), ranks)
    found = []
    for number in range(STEPS):
        batches = [runs.batch(4 * number + at, images=at < 2) for at in range(4)]
        share = len(batches) // ranks.world_size
        outcome = runs.step(held, batches[ranks.rank * share : (ranks.rank + 1) * share], number)
        found.append([outcome.loss, outcome.gradient_norm, *outcome.loss_sums])
    return found


def main(tokenizer: str, folder: str) -> None:
    """One launch serves all kinds, because the launch takes longer than the steps."""
    asked = runs.recipe(Path(tokenizer), parallel="fsdp")
    with init_distributed(asked.run, "fsdp") as ranks:
        found = {kind: take_steps(kind, Path(tokenizer), ranks) for kind in tiny.CONNECTORS}
        if ranks.is_first:
            Path(folder, "found.json").write_text(json.dumps(found))


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(*sys.argv[1:])
