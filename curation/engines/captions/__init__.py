"""This package holds the caption engines: they answer a prompt about an image with text."""
