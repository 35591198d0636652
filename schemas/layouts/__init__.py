"""Layouts of published sets."""
