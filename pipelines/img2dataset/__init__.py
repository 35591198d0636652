"""img2dataset, run in an environment of its own."""
