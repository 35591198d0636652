"""Holds the readers of sets of instructions: questions with answers, most about an image (docs/formats.md §8)."""
