"""Plans mixtures: which sample of which source is at position n.

The order is a pure function of (indexes, weights, seed). It is computed in integers, so that it is the same on every
machine, and any position is found without walking there. The planning modules use only numpy and read neither shards
nor recipes: the trainer draws from a plan online, `shardloom mix` writes it out.
"""
