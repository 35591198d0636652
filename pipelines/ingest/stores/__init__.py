"""Where images are found by their addresses."""
