"""Finds input files and cuts them into units of work."""
