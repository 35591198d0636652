"""Drives the graphs of an annotation run: one in this process, or several in actors that share its shards."""
