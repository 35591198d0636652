"""This package filters documents."""
