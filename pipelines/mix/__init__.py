"""Mixes sets of training shards into one."""

from pipelines.mix.run import mix as mix
