"""Implements Honeybee's C-Abstractor (arXiv 2312.06742): convolutions, pooling to fewer cells, convolutions, an MLP.

The convolutions are RegNet's bottleneck blocks (arXiv 2003.13678) with groups of one channel, layer norm and SiLU.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from training.model.connector import Connector
from training.model.connectors.cell_pooling import (
    pool_cells,
    to_cells,
    to_maps,
    zero_masked_cells,
    zero_masked_tiles,
)
from training.model.connectors.convolutions import ChannelNorm, SqueezeExcitation, make_depthwise

_POSITION_STD = 0.02
_SQUEEZE_DIVISOR = 4  # of a block's input channels


@dataclass(frozen=True, slots=True)
class AbstractorShape:
    """Holds the sizes of a C-Abstractor."""

    side: int
    depth: int
    hidden: int
    mlp_depth: int


class RegNetAbstractor(Connector):
    """Adds position embeddings, and mixes neighbouring cells before and after they are pooled."""

    no_weight_decay = frozenset(("positions",))

    def __init__(self, cells: int, width: int, out_width: int, shape: AbstractorShape) -> None:
        super().__init__()
        self.shape, self.out_width = shape, out_width
        self.positions = nn.Parameter(torch.empty(cells, width))
        nn.init.trunc_normal_(self.positions, std=_POSITION_STD)
        widths = [width, *[shape.hidden] * (2 * shape.depth - 1)]
        self.layers = nn.ModuleList(RegNetBlock(channels, shape.hidden) for channels in widths)
        readout: list[nn.Module] = [nn.Linear(shape.hidden, out_width)]
        for _ in range(shape.mlp_depth - 1):
            readout += [nn.SiLU(), nn.Linear(out_width, out_width)]
        self.readout = nn.Sequential(*readout)

    def forward(self, features: Tensor, valid: Tensor | None) -> Tensor:
        """Returns tokens [K, side * side, out_width] for features [K, cells, width].

        Masked cells are zeros for the first block. The means of the pooling and of the gates are over valid cells. A
        tile without any valid cell gives zeros.
        """
        cells = zero_masked_cells(features.to(self.positions.dtype) + self.positions, valid)
        cells = self._run_blocks(0, cells, valid)
        cells, pooled_valid = pool_cells(cells, valid, self.shape.side)
        cells = self._run_blocks(self.shape.depth, cells, pooled_valid)
        return zero_masked_tiles(self.readout(cells), valid)

    def _run_blocks(self, first: int, cells: Tensor, valid: Tensor | None) -> Tensor:
        maps = to_maps(cells)
        mask = None if valid is None else to_maps(valid[..., None])
        for block in list(self.layers)[first : first + self.shape.depth]:
            maps = block(maps, mask)
        return to_cells(maps)

    def count_flops_per_tile(self, cells: int) -> float:
        """Counts the operations of the convolutions and linear layers; those of the means are left out."""
        tokens = self.shape.side**2
        sizes = [cells] * self.shape.depth + [tokens] * self.shape.depth
        blocks = sum(block.count_products(size) for block, size in zip(self._list_blocks(), sizes, strict=True))
        linear = (layer for layer in self.readout if isinstance(layer, nn.Linear))
        return 2.0 * (blocks + tokens * sum(layer.weight.numel() for layer in linear))

    def count_activations_per_tile(self, cells: int, recompute: bool) -> int:
        """Counts what the blocks and the MLP keep; with `recompute`, of one block and the inputs of all."""
        tokens, hidden = self.shape.side**2, self.shape.hidden
        width = self.positions.shape[1]
        blocks = [(cells, width), *[(cells, hidden)] * (self.shape.depth - 1), *[(tokens, hidden)] * self.shape.depth]
        kept = [size * (channels + _KEPT_PER_CHANNEL * hidden) for size, channels in blocks]
        readout = tokens * (hidden + 2 * (self.shape.mlp_depth - 1) * self.out_width)
        if recompute:
            return max(kept) + sum(size * channels for size, channels in blocks) + readout
        return sum(kept) + readout

    def _list_blocks(self) -> list["RegNetBlock"]:
        return [block for block in self.modules() if isinstance(block, RegNetBlock)]


_KEPT_PER_CHANNEL = 9
"""Maps of a block's width that its backward pass needs, besides its input: those around the three convolutions, norms,
activations and the gates."""


class RegNetBlock(nn.Module):
    """Applies a 1 x 1, a depthwise 3 x 3, gates and a 1 x 1 convolution, with a residual connection."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.enter = nn.Conv2d(channels, hidden, 1, bias=False)
        self.enter_norm = ChannelNorm(hidden)
        self.depthwise = make_depthwise(hidden)
        self.depthwise_norm = ChannelNorm(hidden)
        self.gates = SqueezeExcitation(hidden, round(channels / _SQUEEZE_DIVISOR), nn.SiLU, nn.Sigmoid())
        self.leave = nn.Conv2d(hidden, hidden, 1, bias=False)
        self.leave_norm = ChannelNorm(hidden)
        self.shortcut: nn.Module = nn.Identity()
        if channels != hidden:
            projection = nn.Conv2d(channels, hidden, 1, bias=False)
            self.shortcut = nn.Sequential(projection, ChannelNorm(hidden))
        self.activation = nn.SiLU()

    def forward(self, maps: Tensor, valid: Tensor | None) -> Tensor:
        """Returns maps [K, hidden, H, W] for maps [K, channels, H, W]; `valid` is bool [K, 1, H, W]."""
        inner = self.activation(self.enter_norm(self.enter(maps)))
        inner = self.activation(self.depthwise_norm(self.depthwise(inner)))
        inner = self.leave_norm(self.leave(self.gates(inner, valid)))
        changed: Tensor = self.activation(inner + self.shortcut(maps))
        return changed

    def count_products(self, cells: int) -> int:
        """Counts the multiplications of a tile of `cells` cells."""
        convolutions = [self.enter, self.depthwise, self.leave]
        convolutions += [layer for layer in self.shortcut.modules() if isinstance(layer, nn.Conv2d)]
        return cells * sum(layer.weight.numel() for layer in convolutions) + self.gates.count_products()
