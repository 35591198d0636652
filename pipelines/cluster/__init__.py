"""Where work runs: clusters, their capacity, units of work on them, what they report."""
