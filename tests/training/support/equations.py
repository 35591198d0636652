"""The mathematics of the convolutional connectors once more, on one tile, by loops and sums over named indices.

A map is [side, side, channels]; a mask is bool [side, side]. Nothing here is from torch.nn.
"""

import math
from collections.abc import Iterable

import torch
from torch import Tensor

Windows = list[list[list[tuple[int, int]]]]
"""The cells of each window, by its row and column."""


def adaptive_windows(size: int, side: int) -> Windows:
    """The windows by which adaptive pooling makes `side` x `side` of `size` x `size` cells."""
    bounds = [(math.floor(at * size / side), math.ceil((at + 1) * size / side)) for at in range(side)]
    return [
        [[(row, column) for row in range(*down) for column in range(*across)] for across in bounds] for down in bounds
    ]


def mean_of(cells: Iterable[Tensor], width: int) -> Tensor:
    """Of those there are; of none it is zero."""
    found = list(cells)
    return sum(found, torch.zeros(width, dtype=torch.float64)) / max(1, len(found))


def pooled(grid: Tensor, valid: Tensor, side: int) -> tuple[Tensor, Tensor]:
    """Means over the valid cells of each window, and whether there are any."""
    rows, seen = [], []
    for windows in adaptive_windows(len(grid), side):
        chosen = [[at for at in window if valid[at]] for window in windows]
        rows.append(torch.stack([mean_of((grid[at] for at in cells), grid.shape[-1]) for cells in chosen]))
        seen.append([bool(cells) for cells in chosen])
    return torch.stack(rows), torch.tensor(seen)


def linear(x: Tensor, state: dict[str, Tensor], name: str) -> Tensor:
    """Weights are [out, in], of a 1 x 1 convolution [out, in, 1, 1]."""
    weight = state[f"{name}.weight"].reshape(len(state[f"{name}.weight"]), -1)
    return torch.einsum("...i,oi->...o", x, weight) + state.get(f"{name}.bias", torch.zeros(1, dtype=torch.float64))


def normed(x: Tensor, state: dict[str, Tensor], name: str, eps: float) -> Tensor:
    """Over the channels of each cell."""
    mean = x.mean(-1, keepdim=True)
    variance = ((x - mean) ** 2).mean(-1, keepdim=True)
    return (x - mean) / (variance + eps) ** 0.5 * state[f"{name}.weight"] + state[f"{name}.bias"]


def depthwise(grid: Tensor, state: dict[str, Tensor], name: str, stride: int = 1) -> Tensor:
    """Each channel by its own 3 x 3 weights, zeros around the grid."""
    size, weight = len(grid), state[f"{name}.weight"]
    made = []
    for row in range(0, size, stride):
        for column in range(0, size, stride):
            total = state.get(f"{name}.bias", torch.zeros(grid.shape[-1], dtype=torch.float64)).clone()
            for down in range(3):
                for across in range(3):
                    at = (row + down - 1, column + across - 1)
                    if 0 <= at[0] < size and 0 <= at[1] < size:
                        total = total + weight[:, 0, down, across] * grid[at]
            made.append(total)
    side = -(-size // stride)
    return torch.stack(made).reshape(side, side, -1)


def sigmoid(x: Tensor) -> Tensor:
    return 1 / (1 + (-x).exp())


def silu(x: Tensor) -> Tensor:
    return x * sigmoid(x)


def gelu(x: Tensor) -> Tensor:
    """With the error function itself."""
    cumulated = [0.5 + 0.5 * math.erf(value / 2**0.5) for value in x.flatten().tolist()]
    return x * torch.tensor(cumulated, dtype=torch.float64).view_as(x)


def relu6(x: Tensor) -> Tensor:
    return x.clamp(min=0, max=6)


def mish(x: Tensor) -> Tensor:
    return x * (1 + x.exp()).log().tanh()


def mean_over(grid: Tensor, valid: Tensor) -> Tensor:
    """The mean of a map over its valid cells."""
    cells = (grid[row, column] for row in range(len(grid)) for column in range(len(grid)) if valid[row, column])
    return mean_of(cells, grid.shape[-1])
