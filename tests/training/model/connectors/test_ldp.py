"""LDP and LDPv2 against their equations, written as loops over cells."""

import pytest
import torch
from torch import Tensor

from tests.training.support import connectors, equations
from tests.training.support.equations import depthwise, gelu, linear, normed, relu6
from training.model.connectors.registry import CONNECTORS

EPS = 1e-5


def mlp(cells: Tensor, seen: Tensor, state: dict[str, Tensor]) -> Tensor:
    """As a grid, with zeros where nothing is seen."""
    x = linear(gelu(linear(cells, state, "mlp.0")), state, "mlp.2")
    side = round(len(cells) ** 0.5)
    return (x * seen[:, None]).reshape(side, side, -1)


def block(grid: Tensor, valid: Tensor, state: dict[str, Tensor], name: str, stride: int) -> Tensor:
    x = normed(depthwise(grid, state, f"{name}.depthwise", stride), state, f"{name}.depthwise_norm", EPS)
    x = x * relu6(x + 3) / 6
    squeezed = linear(equations.mean_over(x, valid), state, f"{name}.gates.squeeze").clamp(min=0)
    x = x * relu6(linear(squeezed, state, f"{name}.gates.excite") + 3) / 6
    x = normed(linear(x, state, f"{name}.leave"), state, f"{name}.leave_norm", EPS)
    return x + grid if stride == 1 else x


def strided(valid: Tensor) -> Tensor:
    """Whether the 3 x 3 cells around each second cell show anything."""
    places = range(0, len(valid), 2)
    windows = [
        [valid[max(0, row - 1) : row + 2, max(0, column - 1) : column + 2] for column in places] for row in places
    ]
    return torch.tensor([[bool(window.any()) for window in row] for row in windows])


@pytest.mark.parametrize("side", [4, 5])
def test_ldp_is_its_equations(side: int) -> None:
    connector = connectors.made("ldp", cells=side * side)
    state, cells, valid = connector.state_dict(), connectors.features(3, side * side), connectors.masks(side * side)
    expected = []
    for one, seen in zip(cells, valid, strict=True):
        grid = block(mlp(one, seen, state), seen.reshape(side, side), state, "layers.0", 1)
        expected.append(block(grid, strided(seen.reshape(side, side)), state, "layers.1", 2).flatten(0, 1))
    made = connector(cells, valid)
    assert (made - torch.stack(expected)).abs().max() < 1e-10
    assert made.std() > 0.3
    assert made.shape[1] == CONNECTORS["ldp"]().count_tokens_per_tile(side * side) == ((side + 1) // 2) ** 2
    assert (connector(cells, None)[2] - made[2]).abs().max() < 1e-10


@pytest.mark.parametrize("side", [2, 3])
def test_ldpv2_is_its_equations(side: int) -> None:
    connector = connectors.made("ldpv2", {"side": side})
    state, cells, valid = connector.state_dict(), connectors.features(), connectors.masks()
    expected = []
    for one, seen in zip(cells, valid, strict=True):
        grid, _ = equations.pooled(mlp(one, seen, state), seen.reshape(4, 4), side)
        expected.append((grid + depthwise(grid, state, "position")).flatten(0, 1))
    made = connector(cells, valid)
    assert (made - torch.stack(expected)).abs().max() < 1e-10
    assert made.std() > 0.3
    assert (connector(cells, None)[2] - made[2]).abs().max() < 1e-10


@pytest.mark.parametrize(("cells", "tokens"), [(576, 144), (729, 196), (256, 64), (1, 1)])
def test_ldp_halves_the_sides(cells: int, tokens: int) -> None:
    assert CONNECTORS["ldp"]().count_tokens_per_tile(cells) == tokens


@pytest.mark.parametrize(("channels", "squeezed"), [(2048, 512), (64, 16), (6, 8), (100, 24), (136, 32), (72, 24)])
def test_gates_have_a_multiple_of_8_channels(channels: int, squeezed: int) -> None:
    """Rounded, but never by more than a tenth down."""
    state = CONNECTORS["ldp"]().build(4, 4, channels).state_dict()
    assert state["layers.0.gates.squeeze.weight"].shape == (squeezed, channels, 1, 1)
