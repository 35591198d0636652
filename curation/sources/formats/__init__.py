"""Parses the file formats and field types that the published data sets share."""
