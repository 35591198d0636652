"""Implements xGen-MM's instruction-aware resampler (arXiv 2408.08872, Figure 8b).

The words of an instruction are appended to the latents, so they attend to the cells and to one another, layer after
layer; the outputs of the latents alone go to the language model. The paper does not say how words enter the resampler,
which has the tower's width: here by one linear layer from their embeddings in the language model. All other weights are
those of `PerceiverResampler`, under the same names, so training can start from one.
"""

import torch
from torch import Tensor, nn

from training.model.connector import InstructedConnector
from training.model.connectors.cell_pooling import zero_masked_tiles
from training.model.connectors.perceiver_resampler import PerceiverResampler, PerceiverShape


class InstructionAwareResampler(PerceiverResampler, InstructedConnector):
    """Lets latents and the words of an instruction attend to a tile's cells, and returns the latents' outputs."""

    def __init__(self, width: int, out_width: int, shape: PerceiverShape, max_instruction: int) -> None:
        super().__init__(width, out_width, shape)
        self.max_instruction = max_instruction
        self.instruction = nn.Linear(out_width, width)

    def forward(
        self,
        features: Tensor,
        valid: Tensor | None,
        instructions: Tensor | None = None,
        present: Tensor | None = None,
    ) -> Tensor:
        """Returns tokens [K, latents, out_width], which depend on the words [K, L, out_width] that are `present`.

        Without words they are those of the perceiver resampler, but a tile without any valid cell gives zeros.
        """
        media, count = features.to(self.latents.dtype), len(self.latents)
        if instructions is None:
            instructions = media.new_zeros((len(media), 0, self.out_width))
        words = self.instruction(instructions.to(self.latents.dtype))
        queries = torch.cat((self.latents.expand(len(media), -1, -1), words), dim=1)
        seen = None if present is None else torch.cat((present.new_ones((len(media), count)), present), dim=1)
        for layer in self.layers:
            queries = layer(media, queries, valid, seen)
        tokens: Tensor = self.projection(self.norm(queries[:, :count]))
        return zero_masked_tiles(tokens, valid)

    def count_activations_per_tile(self, cells: int, recompute: bool) -> int:
        """Counts the numbers that are kept with the longest instruction.

        `count_flops_per_tile` leaves the words out, whose number varies, so that no utilisation is overstated.
        """
        return self._count_activations(cells, self.shape.latents + self.max_instruction, recompute)
