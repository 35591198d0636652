"""Implements MobileVLM's LDP (arXiv 2312.16886) and LDPv2 (arXiv 2402.03766): an MLP per cell, then convolutions."""

import math

from torch import Tensor, nn
from torch.nn import functional

from training.model.connector import Connector
from training.model.connectors.cell_pooling import (
    pool_cells,
    to_cells,
    to_maps,
    zero_masked_cells,
    zero_masked_tiles,
)
from training.model.connectors.convolutions import ChannelNorm, SqueezeExcitation, make_depthwise

_SQUEEZE_DIVISOR, _SQUEEZE_MULTIPLE = 4, 8  # gates use a quarter of the channels, a multiple of 8 as in MobileNetV3


class LdpProjector(Connector):
    """Applies an MLP and two depthwise-separable blocks, of which the second halves the sides of the grid."""

    def __init__(self, width: int, out_width: int) -> None:
        super().__init__()
        self.width, self.out_width = width, out_width
        self.mlp = _make_mlp(width, out_width)
        self.layers = nn.ModuleList(MobileBlock(out_width, stride) for stride in (1, 2))

    def forward(self, features: Tensor, valid: Tensor | None) -> Tensor:
        """Returns tokens [K, M, out_width] for features [K, N, width].

        Masked cells are zeros for the convolutions, and the means of the gates are over valid cells. A tile without any
        gives zeros.
        """
        maps = to_maps(_run_mlp(self.mlp, features, valid))
        mask = None if valid is None else to_maps(valid[..., None])
        first, second = self.layers
        maps = first(maps, mask)
        if mask is not None:  # a cell after the stride is valid if its 3 x 3 window has a valid cell
            mask = functional.max_pool2d(mask.float(), 3, stride=2, padding=1) > 0
        return zero_masked_tiles(to_cells(second(maps, mask)), valid)

    def count_flops_per_tile(self, cells: int) -> float:
        """Counts the operations of the linear layers and the convolutions."""
        blocks = [block for block in self.modules() if isinstance(block, MobileBlock)]
        sizes = (cells, _count_after_stride(cells))
        products = sum(block.count_products(size) for block, size in zip(blocks, sizes, strict=True))
        return 2.0 * (cells * _count_mlp_weights(self.mlp) + products)

    def count_activations_per_tile(self, cells: int, recompute: bool) -> int:
        """Counts what the MLP and the blocks keep; with `recompute`, of one block and the inputs of both."""
        mlp = cells * (self.width + 2 * self.out_width)
        kept = [size * _KEPT_PER_CHANNEL * self.out_width for size in (cells, _count_after_stride(cells))]
        inputs = 2 * cells * self.out_width
        return mlp + inputs + (max(kept) if recompute else sum(kept))


class LdpV2Projector(Connector):
    """Applies an MLP, pools, and adds to each cell a depthwise convolution, which tells it where it is."""

    def __init__(self, width: int, out_width: int, side: int) -> None:
        super().__init__()
        self.width, self.out_width, self.side = width, out_width, side
        self.layers = nn.ModuleList()
        self.mlp = _make_mlp(width, out_width)
        self.position = make_depthwise(out_width, bias=True)

    def forward(self, features: Tensor, valid: Tensor | None) -> Tensor:
        """Returns tokens [K, side * side, out_width] for features [K, N, width].

        Means are over valid cells, and masked windows are zeros for the convolution. A tile without any valid cell
        gives zeros.
        """
        pooled, _ = pool_cells(_run_mlp(self.mlp, features, valid), valid, self.side)
        maps = to_maps(pooled)
        return zero_masked_tiles(to_cells(self.position(maps) + maps), valid)

    def count_flops_per_tile(self, cells: int) -> float:
        """Counts the operations of the linear layers and the convolution; those of the means are left out."""
        return 2.0 * (cells * _count_mlp_weights(self.mlp) + self.side**2 * self.position.weight.numel())

    def count_activations_per_tile(self, cells: int, recompute: bool) -> int:
        """Counts the inputs of the layers, the activation and the convolution; none are recomputed."""
        return cells * (self.width + 2 * self.out_width) + self.side**2 * self.out_width


_KEPT_PER_CHANNEL = 6
"""Maps that a block's backward pass needs besides its input: those around norms, activation, gates and projection."""


class MobileBlock(nn.Module):
    """Applies MobileNetV3's block without expansion: a depthwise 3 x 3, gates and a 1 x 1 convolution.

    With a stride of 1 it is residual.
    """

    def __init__(self, channels: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.depthwise = make_depthwise(channels, stride)
        self.depthwise_norm = ChannelNorm(channels)
        self.activation = nn.Hardswish()
        self.gates = SqueezeExcitation(channels, _compute_squeezed(channels), nn.ReLU, nn.Hardsigmoid())
        self.leave = nn.Conv2d(channels, channels, 1, bias=False)
        self.leave_norm = ChannelNorm(channels)

    def forward(self, maps: Tensor, valid: Tensor | None) -> Tensor:
        """Returns maps [K, C, H / stride, W / stride]; `valid`, bool [K, 1, ...], has the size of the output."""
        inner = self.activation(self.depthwise_norm(self.depthwise(maps)))
        changed: Tensor = self.leave_norm(self.leave(self.gates(inner, valid)))
        return changed + maps if self.stride == 1 else changed

    def count_products(self, cells: int) -> int:
        """Counts the multiplications for `cells` cells of the output."""
        weights = self.depthwise.weight.numel() + self.leave.weight.numel()
        return cells * weights + self.gates.count_products()


def _make_mlp(width: int, out_width: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(width, out_width), nn.GELU(), nn.Linear(out_width, out_width))


def _run_mlp(mlp: nn.Sequential, features: Tensor, valid: Tensor | None) -> Tensor:
    """Returns the MLP's outputs, with zeros for masked cells."""
    weight = mlp[0].weight
    assert isinstance(weight, Tensor)
    return zero_masked_cells(mlp(features.to(weight.dtype)), valid)


def _count_mlp_weights(mlp: nn.Sequential) -> int:
    return sum(layer.weight.numel() for layer in mlp if isinstance(layer, nn.Linear))


def _count_after_stride(cells: int) -> int:
    return ((math.isqrt(cells) + 1) // 2) ** 2


def _compute_squeezed(channels: int) -> int:
    """Rounds a quarter of the channels to the nearest multiple of 8, but by a tenth down at most (arXiv 1905.02244)."""
    quarter = channels // _SQUEEZE_DIVISOR
    rounded = max(_SQUEEZE_MULTIPLE, (quarter + _SQUEEZE_MULTIPLE // 2) // _SQUEEZE_MULTIPLE * _SQUEEZE_MULTIPLE)
    return rounded + _SQUEEZE_MULTIPLE if rounded < 0.9 * quarter else rounded
