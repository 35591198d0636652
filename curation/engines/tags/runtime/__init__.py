"""This package imports heavy libraries, so only a process that runs one of these engines imports it."""
