"""From training shards to packed sequences, at any cursor of one global order. Knows no model but its token counts."""
