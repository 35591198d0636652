"""Implements the commands that look into a finished set or go on with it."""
