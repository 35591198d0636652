"""Stores that return images by their URLs or file names."""
