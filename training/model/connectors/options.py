"""What the options of every connector offer. Torch, which takes seconds to import, is not needed to read a recipe."""

from abc import abstractmethod
from typing import TYPE_CHECKING

from schemas.output_set.options import Options

if TYPE_CHECKING:
    from training.model.connector import Connector


class ConnectorOptions(Options):
    """Options of a connector are a subclass of these, with a `kind` of its own."""

    kind: str

    @abstractmethod
    def tokens_per_tile(self, cells: int) -> int:
        """Counts the tokens of a tile of so many cells. The data is planned with it, before there is a model."""

    @abstractmethod
    def build(self, cells: int, width: int, out_width: int) -> "Connector":
        """Makes the connector for tiles of so many cells, with weights drawn from torch's random numbers.

        `width` is the tower's, `out_width` the language model's.
        """
