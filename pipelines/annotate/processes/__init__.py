"""This package handles the process of a worker: which chunks it works on at once, and how it ends."""
