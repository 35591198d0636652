"""Builds separate environments from pins, for programs whose packages conflict with Shardloom's."""
