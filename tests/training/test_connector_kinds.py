"""A run with a connector of any kind: resumed as if never killed, and the same on two ranks as in one process."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from tests.support.kills import KillOrder
from tests.training.support import connector_ranks, runs, tiny
from tests.training.support.sets import document, write_set
from training.checkpoint import COMMIT_FILE, format_checkpoint_name
from training.loop import train
from training.model.connectors.registry import CONNECTORS
from training.model.tokens import load_tokenizer
from training.parallel import Ranks
from training.recipe import TrainRecipe

STEPS, EVERY = 6, 2


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """As in the processes that are killed; another number of threads adds in another order."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def conversations(tokenizer: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of images in several shapes, so that some cells are masked."""
    folder = tmp_path_factory.mktemp("conversations")
    sizes = [(48, 64), (200, 50), (90, 90), (30, 100)]
    talks = [
        document(
            n,
            [sizes[n % 4], f"q{n}?", f"it is {n}", "sure?", "yes"],
            ["user", "user", "assistant", "user", "assistant"],
        )
        for n in range(24)
    ]
    write_set(folder / "talks", talks, load_tokenizer(tiny.options(tokenizer)))
    return folder


def recipe_of(kind: str, conversations: Path, tokenizer: Path, output: Path) -> TrainRecipe:
    """At any resolution."""
    model = tiny.options(tokenizer, connector=tiny.connector(kind), any_resolution={"enabled": True})
    data = {
        "sources": {"talks": str(conversations / "talks")},
        "weights": {"talks": 1},
        "repeats": {"talks": None},
        "stop": 1_000_000,
        "sequence_length": 128,
        "tiles_per_sequence": 8,
        "packing_window": 32,
        "system_prompt": None,
        "workers": 0,
        "cache": str(conversations / "cache"),
    }
    changes = {"data": data, "run": {"output": str(output)}, "steps": STEPS, "global_batch_size": 2}
    return runs.recipe(tokenizer, model=model.model_dump(), checkpoint={"every": EVERY}, **changes)


@pytest.mark.slow
@pytest.mark.parametrize("kind", sorted(CONNECTORS))
def test_killed_and_resumed_is_never_killed(kind: str, conversations: Path, tokenizer: Path, tmp_path: Path) -> None:
    whole = train(recipe_of(kind, conversations, tokenizer, tmp_path / "whole"))
    assert whole.seen["images"] > 0
    asked = recipe_of(kind, conversations, tokenizer, tmp_path / "killed")
    (order := KillOrder(tmp_path / "order")).give(rf"{format_checkpoint_name(2 * EVERY)}/{COMMIT_FILE}$")
    runs.run_until_killed(order, runs.written(tmp_path, asked), "--output", tmp_path / "killed")
    assert not (tmp_path / "killed/model").exists()
    resumed = train(asked, resume="auto")
    assert runs.losses(resumed.folder) == runs.losses(whole.folder)
    assert runs.packs(resumed.folder) == runs.packs(whole.folder)
    for name in ("model.safetensors", "config.json"):
        assert (resumed.folder / "model" / name).read_bytes() == (whole.folder / "model" / name).read_bytes()


@pytest.mark.slow
def test_two_ranks_are_one(tokenizer: Path, tmp_path: Path) -> None:
    ran = runs.torchrun(str(Path(connector_ranks.__file__)), tokenizer, tmp_path)
    assert ran.returncode == 0, ran.stderr
    found = json.loads((tmp_path / "found.json").read_text())
    assert found.keys() == CONNECTORS.keys()
    for kind, steps in found.items():
        alone = connector_ranks.take_steps(kind, tokenizer, Ranks())
        for one, two in zip(alone, steps, strict=True):
            assert two == pytest.approx(one, abs=1e-5), kind
