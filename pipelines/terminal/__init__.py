"""Prints progress and tables on a terminal."""
