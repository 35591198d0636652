"""The connectors that project cells one by one, or joined, against their equations; and what they refuse."""

import math

import pytest
import torch
from torch import Tensor

from schemas.errors import UsageError
from tests.training.support import connectors, equations
from training.model.connectors.registry import CONNECTORS

SHAPES = {
    "linear": [{}, {"pool_side": 3}],
    "mlp": [{}, {"pool_side": 3}, {"depth": 3}],
    "average_pool": [{"side": 3}, {"side": 2}],
    "xdp": [{}, {"factor": 2}, {"factor": 8}, {"factor": 3, "pool_side": 3}],
}
ACTIVATIONS = {"mlp": equations.gelu, "xdp": equations.mish}
CASES = [(kind, options) for kind, shapes in SHAPES.items() for options in shapes]


def by_the_equations(
    kind: str, options: dict[str, int], state: dict[str, Tensor], cells: Tensor, seen: Tensor
) -> Tensor:
    """One tile [N, width]."""
    side = options.get("pool_side") or options.get("side")
    grid, valid = cells.reshape(4, 4, -1), seen.reshape(4, 4)
    if side:
        grid, valid = equations.pooled(grid, valid, side)
    listed = [cell * shows for cell, shows in zip(grid.flatten(0, 1), valid.flatten(), strict=True)]
    join = options.get("factor", 4) if kind == "xdp" else 1
    tokens = []
    for first in range(0, len(listed), join):
        if not valid.flatten()[first : first + join].any():
            tokens.append(torch.zeros(connectors.OUT, dtype=torch.float64))
            continue
        x = equations.linear(torch.cat(listed[first : first + join]), state, "projection.0")
        for layer in range(1, options.get("depth", 2) if kind in ACTIVATIONS else 1):
            x = equations.linear(ACTIVATIONS[kind](x), state, f"projection.{2 * layer}")
        tokens.append(x)
    return torch.stack(tokens)


@pytest.mark.parametrize(("kind", "options"), CASES)
def test_it_is_its_equations(kind: str, options: dict[str, int]) -> None:
    connector = connectors.made(kind, options)
    state, cells, valid = connector.state_dict(), connectors.features(), connectors.masks()
    expected = [by_the_equations(kind, options, state, *one) for one in zip(cells, valid, strict=True)]
    made = connector(cells, valid)
    assert (made - torch.stack(expected)).abs().max() < 1e-10
    assert made.std() > 0.3
    assert len(made[0]) == CONNECTORS[kind](**options).count_tokens_per_tile(16)


@pytest.mark.parametrize("kind", SHAPES)
def test_a_token_of_masked_cells_is_zero(kind: str) -> None:
    """Of a tile whose first cell alone is valid, the first token has values; with pools of overlapping windows too."""
    made = connectors.made(kind)(connectors.features(1), connectors.masks()[1:2])[0]
    assert made.any(dim=1).tolist() == [True] + [False] * (len(made) - 1)


def test_token_counts_of_xmodels_table_8() -> None:
    factors = (1, 2, 4, 8, 9, 16, 32, 72, 144, 288, 576)
    counts = [CONNECTORS["xdp"](factor=factor).count_tokens_per_tile(576) for factor in factors]
    assert counts == [576, 288, 144, 72, 64, 36, 18, 8, 4, 2, 1]


@pytest.mark.parametrize(
    ("options", "cells", "said"),
    [
        ({}, 729, "a tile has 729 cells, which 4 does not divide: set pool_side: 24, which gives 144 tokens"),
        ({"factor": 32}, 729, "joins 32 cells .* 729 cells, .*: set pool_side: 16, which gives 8 tokens"),
        ({"pool_side": 27}, 784, "pool_side 27 leaves 729 cells, which 4 does not divide: set pool_side: 24, which"),
        ({"factor": 900}, 729, "which 900 does not divide: set a smaller factor$"),
        ({"pool_side": 28}, 729, "xdp cannot pool the 27 x 27 cells of a tile to 28 x 28: set 27 or fewer$"),
        ({"pool_side": 2}, 10, "xdp needs a square grid of cells, but a tile has 10: use kind: perceiver$"),
    ],
)
def test_cells_that_do_not_divide(options: dict[str, int], cells: int, said: str) -> None:
    chosen = CONNECTORS["xdp"](**options)
    with pytest.raises(UsageError, match=said):
        chosen.count_tokens_per_tile(cells)
    with pytest.raises(UsageError, match=said):
        chosen.build(cells, 8, 8)


def test_the_advice_is_taken() -> None:
    """What the message names is accepted, and no group of four straddles two rows."""
    assert CONNECTORS["xdp"](pool_side=24).count_tokens_per_tile(729) == 144
    connector = connectors.made("xdp", {"pool_side": 24}, cells=729, width=4, out_width=4)
    assert connector(connectors.features(2, 729, 4), None).shape == (2, 144, 4)
    assert math.isqrt(576) % 4 == 0
