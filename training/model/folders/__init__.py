"""Writes the folders in which models are saved."""
