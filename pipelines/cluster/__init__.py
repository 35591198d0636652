"""Runs units of work on clusters: connects to them, knows their capacity and reports their progress."""
