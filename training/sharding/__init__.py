"""Builds models that are sharded over ranks from the start."""
