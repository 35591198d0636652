"""Defines the interface of connectors, which turn the tower's features of a tile into tokens of the language model.

Each connector has two files in `training/model/connectors`: its options, which a recipe selects by their `kind` and
which are read without torch, and its module. These two provide all that the trainer needs to know of a connector: the
numbers of tokens, of operations, and of activations.
"""

import inspect
from abc import ABC, abstractmethod
from typing import Any, ClassVar, Self

from torch import Tensor, nn


class Connector(nn.Module, ABC):
    """A connector maps features to tokens; its parameters take the learning rate `optimizer.lr.connector`."""

    layers: nn.ModuleList
    """Modules that are compiled one by one, and recomputed one by one in the backward pass; may be empty."""

    no_weight_decay: ClassVar[frozenset[str]] = frozenset()
    """Names of matrices that need no small scale: weight decay excludes them, like norms and biases."""

    arguments: dict[str, Any]
    """What it was made from, by parameter: an export describes it by its class and these."""

    def __new__(cls, *values: Any, **named: Any) -> Self:
        """Makes the object, and keeps the arguments that `__init__` takes."""
        made = super().__new__(cls)
        given = inspect.signature(cls.__init__).bind_partial(made, *values, **named).arguments
        made.__dict__["arguments"] = dict(list(given.items())[1:])  # without `self`; no module's attribute yet
        return made

    @abstractmethod
    def forward(self, features: Tensor, valid: Tensor | None) -> Tensor:
        """Returns the tokens [K, tokens of a tile, out_width] of features [K, cells, width].

        `valid`, bool [K, cells], is False for cells that show no picture; None: all do. Each call reaches every
        parameter, so that each has a gradient.
        """

    @abstractmethod
    def count_flops_per_tile(self, cells: int) -> float:
        """Counts the operations of the forward pass as `training.flops` does."""

    @abstractmethod
    def count_activations_per_tile(self, cells: int, recompute: bool) -> int:
        """Counts the numbers that are kept for the backward pass.

        With `recompute` these are one layer's, and the input of each of the layers.
        """


class InstructedConnector(Connector):
    """A connector whose tokens also depend on what is asked about the image."""

    max_instruction: int
    """Words of an instruction that it uses at most, counted in tokens."""

    @abstractmethod
    def forward(
        self,
        features: Tensor,
        valid: Tensor | None,
        instructions: Tensor | None = None,
        present: Tensor | None = None,
    ) -> Tensor:
        """Returns the tokens as `Connector.forward` does, conditioned on the instruction of each tile.

        `instructions` are embeddings [K, L, out_width] of the words; `present`, bool [K, L], is False for padding. None
        is an instruction without words.
        """
