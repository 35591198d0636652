"""Mixes sets of training shards into one set."""

from pipelines.mix.run import mix as mix
