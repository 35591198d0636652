"""Output sets as they are written."""
