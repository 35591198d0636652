"""Handles what only captions have: prompts that read earlier stages, and several engines for one column."""
