"""Runs img2dataset in a Python environment of its own."""
