"""Looks up the engines that recipes and the command line name."""
