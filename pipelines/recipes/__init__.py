"""Defines the recipes, one kind per file."""
