"""This package decodes images and filters them by size."""
