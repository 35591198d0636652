"""The connectors, each in its own file; `table` has all of them by their kinds."""
