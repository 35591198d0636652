"""Declares how published benchmarks lay out their questions: what differs from tables with the usual columns."""
