"""How work runs at scale: recipes, units of work, Ray Data graphs, sinks, the command line."""
