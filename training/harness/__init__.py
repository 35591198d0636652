"""Lets lmms-eval, an evaluation harness, ask our models: its plug-in, which works in lmms-eval's own environment."""
