"""Checks captions against what the engines found in the image: which statements it supports, and which it contradicts."""
