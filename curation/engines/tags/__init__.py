"""This package holds the engines that name things."""
