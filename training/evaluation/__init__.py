"""Judges a model: its answers to the questions of tasks, and its loss on held-out samples while it trains."""
