"""Exports annotation sets in the layouts of other tools: each module is a layout."""
