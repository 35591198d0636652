"""Defines what the options of every connector provide, without torch, which takes seconds to import."""

from abc import abstractmethod
from typing import TYPE_CHECKING, ClassVar

from schemas.output_set.options import Options

if TYPE_CHECKING:
    from training.model.connector import Connector


class ConnectorOptions(Options):
    """Defines the interface of a connector's options; each connector subclasses it with its own `kind`."""

    kind: str
    needs_conversations: ClassVar[bool] = False
    """Whether each sample with an image must be a conversation."""
    takes_any_cells: ClassVar[bool] = False
    """Whether it makes as many tokens of any number of cells, in any order: those of several tiles, for example."""

    @abstractmethod
    def count_tokens_per_tile(self, cells: int) -> int:
        """Counts the tokens of a tile of `cells` cells. The data is planned with this, before there is a model."""

    @abstractmethod
    def build(self, cells: int, width: int, out_width: int) -> "Connector":
        """Makes the connector for tiles of `cells` cells, with weights drawn from torch's random numbers.

        `width` is the tower's, `out_width` the language model's.
        """
