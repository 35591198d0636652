"""Implements MM1's attention pooling: one cross-attention of trained queries to the cells of a tile.

MM1 (arXiv 2403.09611) publishes the number of queries and no more. This is the smallest form of it: the cells are
normalised, the queries attend to them, and the output projection leads to the language model's width.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from training.model.connector import Connector
from training.model.connectors.cell_pooling import zero_masked_tiles

_QUERY_STD = 0.02  # as of the position embeddings of a ViT


class AttentionPooler(Connector):
    """Lets queries attend once to a tile's cells."""

    no_weight_decay = frozenset(("queries",))

    def __init__(self, width: int, out_width: int, queries: int, heads: int, head_dim: int) -> None:
        super().__init__()
        inner = heads * head_dim
        self.width, self.out_width, self.heads, self.head_dim = width, out_width, heads, head_dim
        self.layers = nn.ModuleList()
        self.queries = nn.Parameter(torch.empty(queries, width))
        nn.init.trunc_normal_(self.queries, std=_QUERY_STD)
        self.norm = nn.LayerNorm(width)
        self.to_q = nn.Linear(width, inner, bias=False)
        self.to_kv = nn.Linear(width, 2 * inner, bias=False)
        self.projection = nn.Linear(inner, out_width)

    def forward(self, features: Tensor, valid: Tensor | None) -> Tensor:
        """Returns tokens [K, queries, out_width] for features [K, N, width].

        Queries attend to valid cells alone. A tile without any gives zeros.
        """
        cells = self.norm(features.to(self.queries.dtype))
        keys, values = (self._split_heads(one) for one in self.to_kv(cells).chunk(2, dim=-1))
        queries = self._split_heads(self.to_q(self.queries)[None]).expand(len(cells), -1, -1, -1)
        mask = None
        if valid is not None:  # a row that is all False would give no finite number
            mask = (valid | ~valid.any(dim=1, keepdim=True))[:, None, None]
        attended = functional.scaled_dot_product_attention(queries, keys, values, attn_mask=mask)
        return zero_masked_tiles(self.projection(attended.transpose(1, 2).flatten(2)), valid)

    def count_flops_per_tile(self, cells: int) -> float:
        """Counts the operations of the linear layers and the pairs; the queries' own layer runs once for all tiles."""
        inner, queries = self.heads * self.head_dim, len(self.queries)
        return 2.0 * (cells * 2 * self.width * inner + 2 * queries * cells * inner + queries * inner * self.out_width)

    def count_activations_per_tile(self, cells: int, recompute: bool) -> int:
        """Counts the cells before and after the norm, the keys and values, and what is attended."""
        inner = self.heads * self.head_dim
        return cells * (2 * self.width + 2 * inner) + 2 * len(self.queries) * inner

    def _split_heads(self, tensor: Tensor) -> Tensor:
        return tensor.view(*tensor.shape[:2], self.heads, self.head_dim).transpose(1, 2)
