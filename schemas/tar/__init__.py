"""Tar archives, read and written byte for byte."""
