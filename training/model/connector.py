"""A connector turns what the tower sees of a tile into tokens of the language model.

Each connector has a file of its own in `training/model/connectors`, with its options and its module. What the trainer
has to know of it, the two tell themselves: tokens, arithmetic, memory. A recipe names one by its `kind`.
"""

from abc import ABC, abstractmethod
from typing import ClassVar

from torch import Tensor, nn

from schemas.output_set.options import Options


class ConnectorOptions(Options):
    """The options of a connector; each subclass has a `kind` of its own."""

    kind: str

    @abstractmethod
    def tokens_per_tile(self, cells: int) -> int:
        """Tokens of a tile of so many cells. The data is planned by it, before there is a model."""

    @abstractmethod
    def build(self, cells: int, width: int, out_width: int) -> "Connector":
        """The connector for tiles of so many cells, from the tower's width to the language model's; its weights are
        drawn from torch's random numbers."""


class Connector(nn.Module, ABC):
    """From features to tokens; its parameters take the connector's learning rate."""

    layers: nn.ModuleList
    """What is compiled, and run again on the way back, one by one; may be empty."""

    undecayed: ClassVar[frozenset[str]] = frozenset()
    """Names of matrices that have no scale to be kept small: weight decay leaves them out, like norms and biases."""

    @abstractmethod
    def forward(self, features: Tensor, valid: Tensor | None) -> Tensor:
        """[K, tokens of a tile, out_width] from [K, cells, width].

        `valid`, bool [K, cells], is False for cells that show no picture; None: all do. No tile (K = 0) gives none, and
        a graph that reaches every parameter.
        """

    @abstractmethod
    def flops_per_tile(self, cells: int) -> float:
        """Operations forwards, counted as `training.flops` counts."""

    @abstractmethod
    def activations_per_tile(self, cells: int, recompute: bool) -> int:
        """Numbers that are kept for the way back; with `recompute` one layer's and what enters each of the others."""
