"""Implements connectors that pool or join neighbouring cells, and project each result by itself.

LLaVA's linear layer and MLP, MM1's average pooling and Xmodel-VLM's XDP are this one module in different shapes.
"""

from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn

from training.model.connector import Connector
from training.model.connectors.cell_pooling import pool_cells, zero_masked_cells

_ACTIVATIONS = {"gelu": nn.GELU, "mish": nn.Mish}


@dataclass(frozen=True, slots=True)
class ProjectorShape:
    """Holds the sizes of a projector."""

    depth: int  # linear layers
    activation: Literal["gelu", "mish"]
    join: int  # consecutive cells, row by row, whose features are concatenated
    pool_side: int | None  # cells a side after averaging


class MlpProjector(Connector):
    """Averages cells if asked to, joins consecutive ones, and applies linear layers with activations between them."""

    def __init__(self, width: int, out_width: int, shape: ProjectorShape) -> None:
        super().__init__()
        self.shape = shape
        self.layers = nn.ModuleList()
        modules: list[nn.Module] = [nn.Linear(width * shape.join, out_width)]
        for _ in range(shape.depth - 1):
            modules += [_ACTIVATIONS[shape.activation](), nn.Linear(out_width, out_width)]
        self.projection = nn.Sequential(*modules)

    def forward(self, features: Tensor, valid: Tensor | None) -> Tensor:
        """Returns tokens [K, M, out_width] for features [K, N, width]; a token of masked cells alone is zero."""
        weight = self.projection[0].weight
        assert isinstance(weight, Tensor)
        cells = features.to(weight.dtype)
        if self.shape.pool_side is not None:
            cells, valid = pool_cells(cells, valid, self.shape.pool_side)
        tiles, count, join = len(cells), cells.shape[1] // self.shape.join, self.shape.join
        cells = zero_masked_cells(cells, valid).reshape(tiles, count, join * cells.shape[2])
        if valid is not None:
            valid = valid.reshape(tiles, count, join).any(dim=2)
        return zero_masked_cells(self.projection(cells), valid)

    def count_flops_per_tile(self, cells: int) -> float:
        """Counts the operations of the linear layers; those of the means are left out."""
        return 2.0 * self._count_tokens(cells) * sum(layer.weight.numel() for layer in self._list_linear_layers())

    def count_activations_per_tile(self, cells: int, recompute: bool) -> int:
        """Counts the inputs of the layers and of the activations; none are recomputed."""
        inputs = [layer.in_features for layer in self._list_linear_layers()]
        return self._count_tokens(cells) * (inputs[0] + 2 * sum(inputs[1:]))

    def _count_tokens(self, cells: int) -> int:
        pooled = cells if self.shape.pool_side is None else self.shape.pool_side**2
        return pooled // self.shape.join

    def _list_linear_layers(self) -> list[nn.Linear]:
        return [layer for layer in self.projection if isinstance(layer, nn.Linear)]
