"""Documents: filters."""
