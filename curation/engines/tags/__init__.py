"""Engines that name things."""
