"""Implements xGen-MM's perceiver resampler, which makes a fixed number of tokens from all cells of a tile.

It is that of OpenFlamingo with three differences: 16 heads of 96 instead of 8 of 64, a mask over cells that show no
picture, and a projection to the language model's width after the layers, not before. The submodules are named so that
the keys of a state dict are those of the released weights (below their prefix): `latents`, `norm`, `projection`, and
for each layer `layers.0.0.to_q`, `.0.norm_media`, `.1.3` and so on.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from training.model.connector import Connector


@dataclass(frozen=True, slots=True)
class PerceiverShape:
    """Holds the sizes of a resampler; its width is the tower's."""

    depth: int
    heads: int
    head_dim: int
    latents: int
    ff_mult: int


class PerceiverResampler(Connector):
    """Lets latents attend to a tile's cells, layer after layer, and projects them once at the end."""

    no_weight_decay = frozenset(("latents",))

    def __init__(self, width: int, out_width: int, shape: PerceiverShape) -> None:
        super().__init__()
        self.width, self.out_width, self.shape = width, out_width, shape
        self.latents = nn.Parameter(torch.randn(shape.latents, width))
        self.layers = nn.ModuleList(ResamplerLayer(width, shape) for _ in range(shape.depth))
        self.norm = nn.LayerNorm(width)
        self.projection = nn.Linear(width, out_width)

    def forward(self, features: Tensor, valid: Tensor | None) -> Tensor:
        """Returns tokens [K, latents, out_width] for features [K, N, width].

        `valid`, bool [K, N], is False for cells to ignore. None gives the same as a mask that is all True, and allows
        faster kernels on a GPU. A tile without any valid cell gives finite values, because the latents still see one
        another. There are no positions, so the order of the cells does not matter (the tower has encoded their places).
        """
        media = features.to(self.latents.dtype)
        latents = self.latents.expand(len(media), -1, -1)
        for layer in self.layers:
            latents = layer(media, latents, valid)
        projected: Tensor = self.projection(self.norm(latents))
        return projected

    def count_flops_per_tile(self, cells: int) -> float:
        """Counts the operations of the linear layers, and of the pairs of a latent and what it attends to."""
        shape, width = self.shape, self.width
        inner, seen = shape.heads * shape.head_dim, cells + shape.latents
        of_latents = 2 * width * inner + 2 * width * width * shape.ff_mult
        layer = shape.latents * of_latents + seen * 2 * width * inner + 2 * shape.latents * seen * inner
        return 2.0 * (shape.depth * layer + shape.latents * width * self.out_width)

    def count_activations_per_tile(self, cells: int, recompute: bool) -> int:
        """Counts the inputs of all products, and the queries, keys and values."""
        return self._count_activations(cells, self.shape.latents, recompute)

    def _count_activations(self, cells: int, queries: int, recompute: bool) -> int:
        shape, width = self.shape, self.width
        inner, seen = shape.heads * shape.head_dim, cells + queries
        of_queries = queries * (6 * width + 2 * inner + 2 * shape.ff_mult * width)
        layer, entering = seen * (width + 2 * inner) + of_queries, queries * width
        return layer + shape.depth * entering if recompute else shape.depth * layer


class ResamplerLayer(nn.ModuleList):
    """Applies attention and a feed-forward network, both residual; it is a list to match the released keys."""

    def __init__(self, width: int, shape: PerceiverShape) -> None:
        inner = width * shape.ff_mult
        feed_forward = nn.Sequential(
            nn.LayerNorm(width),
            nn.Linear(width, inner, bias=False),
            nn.GELU(),
            nn.Linear(inner, width, bias=False),
        )
        super().__init__([LatentAttention(width, shape), feed_forward])

    def forward(self, media: Tensor, latents: Tensor, valid: Tensor | None, present: Tensor | None = None) -> Tensor:
        attention, feed_forward = self
        latents = attention(media, latents, valid, present) + latents
        changed: Tensor = feed_forward(latents) + latents
        return changed


class LatentAttention(nn.Module):
    """Computes attention with the latents as queries, and the cells and the latents as keys and values."""

    def __init__(self, width: int, shape: PerceiverShape) -> None:
        super().__init__()
        inner = shape.heads * shape.head_dim
        self.heads, self.head_dim = shape.heads, shape.head_dim
        self.norm_media = nn.LayerNorm(width)
        self.norm_latents = nn.LayerNorm(width)
        self.to_q = nn.Linear(width, inner, bias=False)
        self.to_kv = nn.Linear(width, 2 * inner, bias=False)
        self.to_out = nn.Linear(inner, width, bias=False)

    def forward(self, media: Tensor, latents: Tensor, valid: Tensor | None, present: Tensor | None = None) -> Tensor:
        """Returns [K, M, width] for media [K, N, width] and latents [K, M, width].

        `valid`, bool [K, N], and `present`, bool [K, M], are False for what no latent attends to; None: all are True.
        A row of `present` needs a True.
        """
        latents = self.norm_latents(latents)
        seen = torch.cat((self.norm_media(media), latents), dim=1)
        keys, values = self.to_kv(seen).chunk(2, dim=-1)
        query, keys, values = (self._split_heads(tensor) for tensor in (self.to_q(latents), keys, values))
        mask = None
        if valid is not None or present is not None:  # [K, 1, 1, N + M]
            masks = (media, valid), (latents, present)
            parts = [part.new_ones(part.shape[:2], dtype=torch.bool) if one is None else one for part, one in masks]
            mask = torch.cat(parts, dim=1)[:, None, None]
        attended = functional.scaled_dot_product_attention(query, keys, values, attn_mask=mask)
        out: Tensor = self.to_out(attended.transpose(1, 2).flatten(2))
        return out

    def _split_heads(self, tensor: Tensor) -> Tensor:
        return tensor.view(*tensor.shape[:2], self.heads, self.head_dim).transpose(1, 2)
