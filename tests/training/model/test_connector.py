"""A connector that comes with one file and one line of the table is trained, exported, loaded and asked."""

from pathlib import Path
from typing import Literal

import pytest
from pydantic import PositiveInt
from torch import Tensor, nn

from tests.training.support import runs, tiny
from training.dry_run import dry_run
from training.flops import build_flop_counter
from training.loop import train
from training.memory import estimate_memory
from training.model.config import ModelOptions
from training.model.connector import Connector
from training.model.connectors.options import ConnectorOptions
from training.model.connectors.registry import CONNECTORS
from training.model.generate import GenerateOptions, generate
from training.model.pretrained import load_pretrained
from training.set_up import prepare_model

CHOSEN = {"kind": "mean", "cells_a_token": 8}  # of 16: two tokens


class MeanOptions(ConnectorOptions):
    """Means of cells in a row."""

    kind: Literal["mean"] = "mean"
    cells_a_token: PositiveInt = 4

    def count_tokens_per_tile(self, cells: int) -> int:
        """Fewer for towers of fewer cells."""
        return cells // self.cells_a_token

    def build(self, cells: int, width: int, out_width: int) -> "Mean":
        """It needs to know nothing of the cells."""
        return Mean(width, out_width, self.cells_a_token)


class Mean(Connector):
    """One linear layer behind the means; nothing to run again."""

    no_weight_decay = frozenset(("projection.weight",))

    def __init__(self, width: int, out_width: int, cells_a_token: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList()
        self.projection, self.cells_a_token = nn.Linear(width, out_width), cells_a_token

    def forward(self, features: Tensor, valid: Tensor | None) -> Tensor:
        """Cells that show nothing count as zeros."""
        seen = features if valid is None else features * valid[..., None]
        projected: Tensor = self.projection(seen.unflatten(1, (-1, self.cells_a_token)).mean(2))
        return projected

    def count_flops_per_tile(self, cells: int) -> float:
        """Of the linear layer."""
        return 2.0 * cells // self.cells_a_token * self.projection.weight.numel()

    def count_activations_per_tile(self, cells: int, recompute: bool) -> int:
        """The means."""
        return cells // self.cells_a_token * self.projection.in_features


@pytest.fixture
def options(tokenizer: Path, monkeypatch: pytest.MonkeyPatch) -> ModelOptions:
    monkeypatch.setitem(CONNECTORS, "mean", MeanOptions)
    return tiny.options(tokenizer, connector=CHOSEN)


def test_options_are_those_of_the_kind(options: ModelOptions) -> None:
    assert options.connector == MeanOptions(cells_a_token=8)
    assert options.model_dump(mode="json")["connector"] == CHOSEN
    assert ModelOptions.model_validate(options.model_dump()) == options
    assert CONNECTORS.keys() > {"perceiver", "mean"}


def test_what_it_tells_is_what_is_counted(options: ModelOptions, tokenizer: Path) -> None:
    asked = runs.recipe(tokenizer, model=options.model_dump(), micro_batch_size=2)
    model, perceiver = prepare_model(asked, "meta"), prepare_model(runs.recipe(tokenizer, micro_batch_size=2), "meta")
    assert (model.tokens_per_tile, perceiver.tokens_per_tile) == (2, tiny.TOKENS_PER_TILE)
    assert build_flop_counter(model).connector_per_tile == 2 * 2 * 32 * 64
    found, known = (estimate_memory(of, asked, 1, "none") for of in (model, perceiver))
    assert (found.parts[1].name, found.parts[1].parameters) == ("connector", 32 * 64 + 64)
    tiles = 2 * 32  # `micro_batch_size` times the default of `tiles_per_sequence`
    theirs = perceiver.connector.count_activations_per_tile(16, False)
    assert known.activations - found.activations == 4 * tiles * (theirs - 2 * 32)


def test_a_run(options: ModelOptions, tokenizer: Path, tmp_path: Path) -> None:
    changes = {"model": options.model_dump(), "steps": 2, "activation_checkpointing": True}
    asked = runs.packed(tmp_path, tokenizer, **changes, run={"output": str(tmp_path / "run")}, data={"workers": 0})
    assert "\n  connector                 2,112          2,112" in "\n".join(dry_run(asked))
    done = train(asked)
    assert (done.step, done.status) == (2, "done")
    assert done.seen["images"] > 0
    assert done.model_folder is not None
    model, words = load_pretrained(done.model_folder)
    assert model.options.connector == MeanOptions(cells_a_token=8)
    assert {key for key in model.state_dict() if key.startswith("connector.")} == {
        "connector.projection.weight",
        "connector.projection.bias",
    }
    generate(model, words, ["what ", words.special.end_of_chunk], GenerateOptions(max_new_tokens=2))


def test_what_decays_is_its_own_to_say(options: ModelOptions, tokenizer: Path) -> None:
    optimizer = runs.ALL | {"weight_decay": 0.1}
    held = runs.trainer(runs.recipe(tokenizer, model=options.model_dump(), optimizer=optimizer))
    found = {(group["part"], group["weight_decay"]) for group in held.optimizer.param_groups}
    assert found == {("connector", 0.0), ("language", 0.0), ("language", 0.1)}
