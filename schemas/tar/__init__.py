"""Reads and writes tar archives byte for byte."""
