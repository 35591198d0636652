"""Checks captions against what the engines found in the image: what these support and contradict."""
