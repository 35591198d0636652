"""Recipes of each kind, a file each."""
