"""Stands for the connector of a model that takes no images."""

from torch import Tensor, nn

from training.model.connector import Connector


class NoConnector(Connector):
    """Makes no tokens and has no parameters."""

    def __init__(self, out_width: int) -> None:
        super().__init__()
        self.layers, self.out_width = nn.ModuleList(), out_width

    def forward(self, features: Tensor, valid: Tensor | None) -> Tensor:
        """Returns no tokens [K, 0, out_width]."""
        return features.new_zeros((len(features), 0, self.out_width))

    def count_flops_per_tile(self, cells: int) -> float:
        """Returns 0."""
        return 0.0

    def count_activations_per_tile(self, cells: int, recompute: bool) -> int:
        """Returns 0."""
        return 0
