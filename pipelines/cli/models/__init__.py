"""Implements the commands that take trained models, or train them to compare them."""
