"""Defines the interface of vision towers, and the absent one of a language model by itself."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from schemas.errors import UsageError


class Tower(nn.Module, ABC):
    """A tower maps the pixels of tiles to the features of their cells; it is frozen until it is unfrozen."""

    width: int
    image_size: int
    """Side of a tile in pixels."""
    patch_size: int
    """Side of a cell in pixels."""
    frozen: bool
    layers: Sequence[nn.Module]
    """The encoder's layers that run."""
    positions: int
    """Positions in the encoder's sequence: the cells, and a class token if there is one."""
    patch_weights: int
    """Weights of the layer that embeds a cell's pixels."""

    @property
    def cells(self) -> int:
        """Counts the cells of a tile: 729 for 384 pixels in patches of 14 (the last six rows and columns are lost)."""
        return (self.image_size // self.patch_size) ** 2

    @abstractmethod
    def forward(self, tiles: Tensor, shown: Tensor | None = None) -> Tensor:
        """Returns the features [K, cells, width] of tiles, uint8 [K, 3, S, S].

        `shown`, bool [K, cells], is False for cells that no cell may attend to; None: all are True. A row needs a True.
        """

    @abstractmethod
    def freeze(self) -> None:
        """Freezes the tower."""

    @abstractmethod
    def unfreeze(self) -> None:
        """Lets all parameters learn that the features depend on."""

    @abstractmethod
    def get_config(self) -> Any:
        """Returns the configuration of transformers; None without a tower."""


class NoTower(Tower):
    """Stands for the tower of a model that takes no images; it has no parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.width = self.image_size = self.patch_size = 1
        self.frozen, self.layers, self.positions, self.patch_weights = True, (), 0, 0

    def forward(self, tiles: Tensor, shown: Tensor | None = None) -> Tensor:
        """Returns features of no cell."""
        return torch.zeros((0, self.cells, self.width), device=tiles.device)

    def freeze(self) -> None:
        """Does nothing."""

    def unfreeze(self) -> None:
        """Raises `UsageError`: there is nothing to learn."""
        raise UsageError("optimizer.lr.tower: the model has no tower, as model.vision is null: set the rate to 0")

    def get_config(self) -> None:
        """Returns None."""
