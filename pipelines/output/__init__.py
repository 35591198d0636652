"""Writes output sets."""
