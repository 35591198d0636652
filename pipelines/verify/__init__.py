"""Verifies output sets, and repairs them."""

from pipelines.verify.run import verify as verify
