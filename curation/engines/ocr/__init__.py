"""Engines that read text."""
