"""Finds the questions of a task that a training set shows: by copies of their images, and by their texts."""
