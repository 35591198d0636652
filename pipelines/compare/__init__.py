"""Compares two training recipes: trains both with the same seeds and data order, and evaluates all models."""
