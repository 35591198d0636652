"""The C-Abstractor against its equations, written as loops over cells."""

import pytest
import torch
from torch import Tensor

from schemas.errors import UsageError
from tests.training.support import connectors, equations
from tests.training.support.equations import depthwise, linear, normed, sigmoid, silu
from training.model.connectors.registry import CONNECTORS

EPS = 1e-5


def block(grid: Tensor, valid: Tensor, state: dict[str, Tensor], name: str) -> Tensor:
    x = silu(normed(linear(grid, state, f"{name}.enter"), state, f"{name}.enter_norm", EPS))
    x = silu(normed(depthwise(x, state, f"{name}.depthwise"), state, f"{name}.depthwise_norm", EPS))
    squeezed = silu(linear(equations.mean_over(x, valid), state, f"{name}.gates.squeeze"))
    x = x * sigmoid(linear(squeezed, state, f"{name}.gates.excite"))
    x = normed(linear(x, state, f"{name}.leave"), state, f"{name}.leave_norm", EPS)
    if f"{name}.shortcut.0.weight" in state:
        grid = normed(linear(grid, state, f"{name}.shortcut.0"), state, f"{name}.shortcut.1", EPS)
    return silu(x + grid)


def by_the_equations(state: dict[str, Tensor], cells: Tensor, seen: Tensor, depth: int, side: int) -> Tensor:
    """One tile [16, width]."""
    grid = ((cells + state["positions"]) * seen[:, None]).reshape(4, 4, -1)
    valid = seen.reshape(4, 4)
    for number in range(depth):
        grid = block(grid, valid, state, f"layers.{number}")
    grid, valid = equations.pooled(grid, valid, side)
    for number in range(depth, 2 * depth):
        grid = block(grid, valid, state, f"layers.{number}")
    x = linear(grid.reshape(side * side, -1), state, "readout.0")
    return linear(silu(x), state, "readout.2")


@pytest.mark.parametrize(("width", "depth", "side"), [(8, 1, 3), (6, 2, 2)])
def test_it_is_its_equations(width: int, depth: int, side: int) -> None:
    connector = connectors.made("c_abstractor", {"side": side, "depth": depth, "hidden": 8}, width=width)
    assert ("layers.0.shortcut.0.weight" in connector.state_dict()) == (width != 8)
    state, cells, valid = connector.state_dict(), connectors.features(width=width), connectors.masks()
    expected = [by_the_equations(state, *one, depth, side) for one in zip(cells, valid, strict=True)]
    made = connector(cells, valid)
    assert (made - torch.stack(expected)).abs().max() < 1e-10
    assert made.std() > 0.3
    assert (connector(cells, None)[2] - made[2]).abs().max() < 1e-10


def test_positions_are_initialised_small() -> None:
    torch.manual_seed(0)
    positions = CONNECTORS["c_abstractor"](depth=1, hidden=8).build(729, 64, 8).positions
    assert positions.shape == (729, 64)
    assert (positions.std() - 0.02).abs() < 0.001


def test_more_tokens_than_cells_are_refused() -> None:
    said = r"^model\.connector\.side: c_abstractor cannot pool the 4 x 4 cells of a tile to 12 x 12: set 4 or fewer$"
    with pytest.raises(UsageError, match=said):
        CONNECTORS["c_abstractor"]().build(16, 8, 8)
