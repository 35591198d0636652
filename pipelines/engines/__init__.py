"""Engines as recipes and the command line name them."""
