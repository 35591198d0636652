"""Compares what a page shows with a ground truth: what was found, what was missed, and what is not there."""
