"""This package is a caption engine: a model that the trainer has exported writes captions in `shardloom annotate`."""
