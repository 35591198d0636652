"""This package measures how good annotations are."""
