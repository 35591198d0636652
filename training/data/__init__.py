"""This package turns training shards into packed sequences, from any cursor of one global order.

Of the model it knows only how many tokens a text or an image takes.
"""
