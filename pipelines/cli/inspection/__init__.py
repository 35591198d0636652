"""Implements commands that look into output sets."""
