"""Input files, cut into units of work."""
