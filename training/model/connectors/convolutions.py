"""Holds the parts that the convolutional connectors share; maps are [K, channels, H, W]."""

from collections.abc import Callable

from torch import Tensor, nn

from training.model.connectors.cell_pooling import average_valid


class ChannelNorm(nn.LayerNorm):
    """Applies layer norm over the channels of each cell."""

    def forward(self, maps: Tensor) -> Tensor:
        return super().forward(maps.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class SqueezeExcitation(nn.Module):
    """Scales the channels of a map by gates computed from their means over the valid cells (arXiv 1709.01507)."""

    def __init__(self, channels: int, squeezed: int, activation: Callable[[], nn.Module], gate: nn.Module) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(channels, squeezed, 1)
        self.activation = activation()
        self.excite = nn.Conv2d(squeezed, channels, 1)
        self.gate = gate

    def forward(self, maps: Tensor, valid: Tensor | None) -> Tensor:
        """Returns the scaled maps; `valid` is bool [K, 1, H, W]."""
        means = average_valid(maps, valid)
        gates: Tensor = self.gate(self.excite(self.activation(self.squeeze(means))))
        return maps * gates

    def count_products(self) -> int:
        """Counts the multiplications of a tile in the two layers."""
        return self.squeeze.weight.numel() + self.excite.weight.numel()


def make_depthwise(channels: int, stride: int = 1, bias: bool = False) -> nn.Conv2d:
    """Makes a 3 x 3 convolution of each channel by itself."""
    return nn.Conv2d(channels, channels, 3, stride=stride, padding=1, groups=channels, bias=bias)
