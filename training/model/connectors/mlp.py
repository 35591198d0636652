"""Defines the options of the connectors that project each cell, or a few joined cells, by itself."""

from abc import abstractmethod
from typing import TYPE_CHECKING, Literal

from pydantic import Field, PositiveInt

from training.model.connectors.grid import count_joined_cells, count_pooled_cells
from training.model.connectors.options import ConnectorOptions

if TYPE_CHECKING:
    from training.model.connectors.mlp_projector import MlpProjector, ProjectorShape


class _ProjectorOptions(ConnectorOptions):
    """Sets what all of these connectors can do before they project."""

    pool_side: PositiveInt | None = Field(
        None, description="averages a tile to so many cells a side before anything else; 12 gives 144; default: none"
    )

    @abstractmethod
    def make_shape(self) -> "ProjectorShape":
        """Returns the sizes of the module."""

    def count_tokens_per_tile(self, cells: int) -> int:
        """Returns the number of cells, after pooling if there is any."""
        return cells if self.pool_side is None else count_pooled_cells(cells, self.pool_side, self.kind, "pool_side")

    def build(self, cells: int, width: int, out_width: int) -> "MlpProjector":
        """Makes the projector. Raises `UsageError` for cells that it cannot take."""
        from training.model.connectors.mlp_projector import MlpProjector

        self.count_tokens_per_tile(cells)
        return MlpProjector(width, out_width, self.make_shape())


class LinearOptions(_ProjectorOptions):
    """Sets the sizes of one linear layer per cell, as in LLaVA (arXiv 2304.08485)."""

    kind: Literal["linear"] = "linear"

    def make_shape(self) -> "ProjectorShape":
        """Returns the shape of a single layer."""
        from training.model.connectors.mlp_projector import ProjectorShape

        return ProjectorShape(1, "gelu", 1, self.pool_side)


class MlpOptions(_ProjectorOptions):
    """Sets the sizes of a few linear layers per cell with GELU between them, as in LLaVA-1.5 (arXiv 2310.03744)."""

    kind: Literal["mlp"] = "mlp"
    depth: int = Field(2, ge=2, description="linear layers; LLaVA-1.5 has two, and `linear` is the name of one")

    def make_shape(self) -> "ProjectorShape":
        """Returns the shape of the layers."""
        from training.model.connectors.mlp_projector import ProjectorShape

        return ProjectorShape(self.depth, "gelu", 1, self.pool_side)


class XdpOptions(_ProjectorOptions):
    """Sets the sizes of Xmodel-VLM's projector, two linear layers with Mish over joined cells (arXiv 2405.09215)."""

    kind: Literal["xdp"] = "xdp"
    factor: PositiveInt = Field(
        4,
        description="consecutive cells joined to a token; 4 leaves 144 of 576. The paper's Table 8: "
        "1, 2, 4, 8, 9, 16, 32, 72, 144, 288, 576",
    )

    def count_tokens_per_tile(self, cells: int) -> int:
        """Returns the number of groups of cells. Raises `UsageError` when cells would be left over."""
        return count_joined_cells(super().count_tokens_per_tile(cells), self.factor, self.pool_side, self.kind)

    def make_shape(self) -> "ProjectorShape":
        """Returns the shape of the two layers."""
        from training.model.connectors.mlp_projector import ProjectorShape

        return ProjectorShape(2, "mish", self.factor, self.pool_side)


class AveragePoolOptions(ConnectorOptions):
    """Sets the sizes of MM1's average pooling, means of a grid of windows and one linear layer (arXiv 2403.09611)."""

    kind: Literal["average_pool"] = "average_pool"
    side: PositiveInt = Field(12, description="windows a side: 144 tokens, which MM1 prefers to the 64 of side 8")

    def count_tokens_per_tile(self, cells: int) -> int:
        """Returns the number of windows. Raises `UsageError` when there are more than cells."""
        return count_pooled_cells(cells, self.side, self.kind, "side")

    def build(self, cells: int, width: int, out_width: int) -> "MlpProjector":
        """Makes the pooling and the layer. Raises `UsageError` for cells that they cannot take."""
        from training.model.connectors.mlp_projector import MlpProjector, ProjectorShape

        self.count_tokens_per_tile(cells)
        return MlpProjector(width, out_width, ProjectorShape(1, "gelu", 1, self.side))
