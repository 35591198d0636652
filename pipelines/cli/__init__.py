"""The command line: a file a command, each a thin wrapper over a function that Python can call."""
