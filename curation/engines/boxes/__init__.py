"""This package holds the engines that find things."""
