"""Defines the records: one type per file, with its Arrow schema."""
