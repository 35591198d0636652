"""Generates tokens: how a model is run on a prompt and what follows, and how the next token is chosen."""
