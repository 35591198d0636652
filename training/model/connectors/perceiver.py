"""Defines the options of the perceiver resampler, which works at the tower's width."""

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field, PositiveInt

from training.model.connectors.options import ConnectorOptions

if TYPE_CHECKING:
    from training.model.connectors.perceiver_resampler import PerceiverResampler


class PerceiverOptions(ConnectorOptions):
    """Sets the sizes of the perceiver resampler."""

    takes_any_cells: ClassVar[bool] = True
    kind: Literal["perceiver"] = "perceiver"
    depth: PositiveInt = 6
    heads: PositiveInt = 16
    head_dim: PositiveInt = Field(96, description="times heads: 1536, wider than the tower's 1152")
    latents: PositiveInt = Field(128, description="tokens of a tile; 64 score alike in the paper's Table 7")
    ff_mult: PositiveInt = 4

    def count_tokens_per_tile(self, cells: int) -> int:
        """Returns the number of latents, which does not depend on the cells."""
        return self.latents

    def build(self, cells: int, width: int, out_width: int) -> "PerceiverResampler":
        """Makes the resampler; it takes any number of cells."""
        from training.model.connectors.perceiver_resampler import PerceiverResampler, PerceiverShape

        return PerceiverResampler(width, out_width, PerceiverShape(**self.model_dump(exclude={"kind"})))
