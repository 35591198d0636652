"""This package holds the engines that read text."""
