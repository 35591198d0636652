"""Run by torchrun on gloo ranks: each builds its shards of a model of 400 MB. Writes what memory that took."""

import json
import sys
from pathlib import Path

import torch
from torch.distributed.tensor import DTensor

from tests.training.support import runs, tiny
from training.parallel import Ranks, init_distributed, parallelize
from training.recipe import TrainRecipe
from training.set_up import prepare_model
from training.sharding.deferred_model import defer_model

LANGUAGE = tiny.PHI3 | {
    "hidden_size": 768,
    "intermediate_size": 2048,
    "num_hidden_layers": 14,  # its largest tensor is a quarter of what one of eight ranks holds
    "num_attention_heads": 12,
}


def build(recipe: TrainRecipe, ranks: Ranks, deferred: bool) -> int:
    """Builds the model, sharded; returns the bytes of its parameters that this rank holds."""
    if deferred:
        found = defer_model(recipe, ranks)
        assert found is not None
        parallelize(model := found.model, recipe, ranks)
        found.fill(model, ranks)
    else:
        parallelize(model := prepare_model(recipe), recipe, ranks)
    local = [one.to_local() if isinstance(one, DTensor) else one for one in model.parameters()]
    return sum(tensor.numel() * tensor.element_size() for tensor in local)


def read_status(name: str) -> int:
    """Returns this process's value of /proc/self/status in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))


def main(how: str, tokenizer: str, start: str, folder: str) -> None:
    """Builds a tiny model first, so that libraries are loaded; `start` is an export's folder, or empty."""
    model = tiny.options(Path(tokenizer), language={"config": LANGUAGE}).model_dump()
    changes = {"init_from": start} if start else {}
    asked = runs.recipe(Path(tokenizer), parallel="fsdp", model=model, **changes)
    with init_distributed(asked.run, "fsdp") as ranks:
        build(runs.recipe(Path(tokenizer), parallel="fsdp"), ranks, how == "deferred")
        before = read_status("VmRSS")
        Path("/proc/self/clear_refs").write_text("5")  # the peak begins again
        share = build(asked, ranks, how == "deferred")
        found = {"share": share, "peak": read_status("VmHWM") - before, "baseline": before}
        Path(folder, f"rank-{ranks.rank}.json").write_text(json.dumps(found))


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(*sys.argv[1:])
