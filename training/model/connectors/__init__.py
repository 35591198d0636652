"""This package holds the connectors, each in its own file; `table` lists all of them by kind."""
