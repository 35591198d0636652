"""Which rows of metadata are chosen."""
