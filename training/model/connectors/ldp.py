"""Defines the options of MobileVLM's two light downsample projectors, LDP and LDPv2."""

from typing import TYPE_CHECKING, Literal

from pydantic import Field, PositiveInt

from training.model.connectors.grid import compute_side, count_pooled_cells
from training.model.connectors.options import ConnectorOptions

if TYPE_CHECKING:
    from training.model.connectors.mobile_projectors import LdpProjector, LdpV2Projector


class LdpOptions(ConnectorOptions):
    """Chooses LDP (arXiv 2312.16886), whose sizes are those of the tower and the language model."""

    kind: Literal["ldp"] = "ldp"

    def count_tokens_per_tile(self, cells: int) -> int:
        """Returns the cells that a stride of two leaves: 144 of 576, 196 of 729."""
        return ((compute_side(cells, self.kind) + 1) // 2) ** 2

    def build(self, cells: int, width: int, out_width: int) -> "LdpProjector":
        """Makes the projector. Raises `UsageError` for cells that form no square."""
        from training.model.connectors.mobile_projectors import LdpProjector

        self.count_tokens_per_tile(cells)
        return LdpProjector(width, out_width)


class LdpV2Options(ConnectorOptions):
    """Sets the sizes of LDPv2 (arXiv 2402.03766)."""

    kind: Literal["ldpv2"] = "ldpv2"
    side: PositiveInt = Field(12, description="cells a side after pooling: 144 tokens, as in MobileVLM V2")

    def count_tokens_per_tile(self, cells: int) -> int:
        """Returns the number of cells after pooling. Raises `UsageError` when there are more than before."""
        return count_pooled_cells(cells, self.side, self.kind, "side")

    def build(self, cells: int, width: int, out_width: int) -> "LdpV2Projector":
        """Makes the projector. Raises `UsageError` for cells that it cannot take."""
        from training.model.connectors.mobile_projectors import LdpV2Projector

        self.count_tokens_per_tile(cells)
        return LdpV2Projector(width, out_width, self.side)
