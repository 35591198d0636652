"""Scores a model's answers to questions about images by the metrics of published benchmarks."""
