"""A run with any connector and way to take images: resumed as if never killed, the same on two ranks as in one."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.support.kills import KillOrder
from tests.training.support import connector_ranks, runs, tiny
from tests.training.support.sets import captioned, document, write_set
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
    words = load_tokenizer(tiny.options(tokenizer))
    write_set(folder / "talks", talks, words)
    write_set(folder / "texts", [document(100 + n, [f"text {n}"]) for n in range(24)], words)
    write_set(folder / "pictures", [captioned(n, f"number {n}", sizes[n % 4]) for n in range(24)], words)
    return folder


def recipe_of(case: str, conversations: Path, tokenizer: Path, output: Path) -> TrainRecipe:
    """Of a connector at any resolution, or of a mode; by source, texts are weighted by multimodal tokens."""
    changes: dict[str, Any] = tiny.MODES.get(case) or {"any_resolution": {"enabled": True}}
    if case in tiny.CONNECTORS:
        changes = changes | {"connector": tiny.connector(case)}
    model = tiny.options(tokenizer, **changes)
    names = {"language": ["texts"], "by_source": ["talks", "texts", "pictures"]}.get(case, ["talks"])
    data: dict[str, Any] = {
        "sources": {name: str(conversations / name) for name in names},
        "weights": dict.fromkeys(names, 1),
        "repeats": dict.fromkeys(names),
        "stop": 1_000_000,
        "sequence_length": 128,
        "tiles_per_sequence": 8,
        "packing_window": 32,
        "system_prompt": None,
        "workers": 0,
        "cache": str(conversations / "cache"),
    }
    if case == "by_source":
        data |= {"unit": "multimodal_tokens", "any_resolution": {"pictures": {"enabled": False, "fixed": "pad"}}}
    lr = {"tower": 1e-3 if case == "clip" else 0, "connector": 1e-3, "language": 1e-3}
    asked = {
        "data": data,
        "run": {"output": str(output)},
        "steps": STEPS,
        "global_batch_size": 2,
        "optimizer": {"lr": lr},
    }
    return runs.recipe(tokenizer, model=model.model_dump(), checkpoint={"every": EVERY}, **asked)


@pytest.mark.slow
@pytest.mark.parametrize("case", [*sorted(CONNECTORS), *tiny.MODES, "by_source"])
def test_killed_and_resumed_is_never_killed(case: str, conversations: Path, tokenizer: Path, tmp_path: Path) -> None:
    whole = train(recipe_of(case, conversations, tokenizer, tmp_path / "whole"))
    assert (whole.seen["images"] > 0) == (case != "language")
    asked = recipe_of(case, conversations, tokenizer, tmp_path / "killed")
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
    assert found.keys() == {*CONNECTORS, *tiny.MODES}
    for case, steps in found.items():
        alone = connector_ranks.take_steps(case, tokenizer, Ranks())
        for one, two in zip(alone, steps, strict=True):
            assert two == pytest.approx(one, abs=1e-5), case
