"""Defines the options of Honeybee's C-Abstractor, which MM1 uses too."""

from typing import TYPE_CHECKING, Literal

from pydantic import Field, PositiveInt

from training.model.connectors.grid import count_pooled_cells
from training.model.connectors.options import ConnectorOptions

if TYPE_CHECKING:
    from training.model.connectors.regnet_abstractor import RegNetAbstractor


class CAbstractorOptions(ConnectorOptions):
    """Sets the sizes of the C-Abstractor (arXiv 2312.06742)."""

    kind: Literal["c_abstractor"] = "c_abstractor"
    side: PositiveInt = Field(12, description="cells a side after pooling: 144 tokens, in Honeybee and in MM1")
    depth: PositiveInt = Field(3, description="convolution blocks before the pooling, and as many after; Honeybee's")
    hidden: PositiveInt = Field(1024, description="channels of the blocks; Honeybee's")
    mlp_depth: PositiveInt = Field(2, description="linear layers after the blocks; Honeybee's")

    def count_tokens_per_tile(self, cells: int) -> int:
        """Returns the number of cells after pooling. Raises `UsageError` when there are more than before."""
        return count_pooled_cells(cells, self.side, self.kind, "side")

    def build(self, cells: int, width: int, out_width: int) -> "RegNetAbstractor":
        """Makes the abstractor, with one position embedding for each cell.

        Raises `UsageError` for cells that it cannot take.
        """
        from training.model.connectors.regnet_abstractor import AbstractorShape, RegNetAbstractor

        self.count_tokens_per_tile(cells)
        return RegNetAbstractor(cells, width, out_width, AbstractorShape(**self.model_dump(exclude={"kind"})))
