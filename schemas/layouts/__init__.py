"""Defines the layouts of published sets."""
