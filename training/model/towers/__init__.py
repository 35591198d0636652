"""Holds what vision towers have in common, and how cells enter and leave them."""
