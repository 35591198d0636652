"""Writes folders that transformers loads with the code inside them; four modules here are that code."""
