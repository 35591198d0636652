"""Defines the options of MM1's attention pooling."""

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field, PositiveInt

from training.model.connectors.options import ConnectorOptions

if TYPE_CHECKING:
    from training.model.connectors.attention_pooler import AttentionPooler


class AttentionPoolOptions(ConnectorOptions):
    """Sets the sizes of MM1's attention pooling by trained queries (arXiv 2403.09611)."""

    takes_any_cells: ClassVar[bool] = True
    kind: Literal["attention_pool"] = "attention_pool"
    queries: PositiveInt = Field(144, description="tokens of a tile; MM1 prefers them to 64")
    heads: PositiveInt = Field(16, description="UNPUBLISHED; those of the paper's towers, ViT-L and ViT-H")
    head_dim: PositiveInt = Field(64, description="UNPUBLISHED; times heads: 1024, the width of ViT-L")

    def count_tokens_per_tile(self, cells: int) -> int:
        """Returns the number of queries, which does not depend on the cells."""
        return self.queries

    def build(self, cells: int, width: int, out_width: int) -> "AttentionPooler":
        """Makes the pooling; it takes any number of cells."""
        from training.model.connectors.attention_pooler import AttentionPooler

        return AttentionPooler(width, out_width, self.queries, self.heads, self.head_dim)
