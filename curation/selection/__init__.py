"""This package chooses rows of metadata."""
