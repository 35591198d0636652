"""Checks output sets."""

from pipelines.verify.run import verify as verify
