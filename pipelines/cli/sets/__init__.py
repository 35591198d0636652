"""Implements the commands that go on with a finished set."""
