"""The folder that every command writes."""
