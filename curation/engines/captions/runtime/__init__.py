"""This package holds what the caption engines need at work and their declarations do not import."""
