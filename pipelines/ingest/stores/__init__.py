"""Provides stores that return images by their URLs or file names."""
