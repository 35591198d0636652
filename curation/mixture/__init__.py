"""Mixtures: which sample of which source stands at position n.

The order is a pure function of (indexes, weights, seed): integers only, so that it is the same on every machine, and
any position is found without walking there. numpy and nothing else: the trainer draws from it online, `shardloom mix`
writes it out. Reading shards and recipes is not done here.
"""
