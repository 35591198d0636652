"""Engines that find things."""
