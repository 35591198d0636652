"""Defines the folder that every command writes."""
