"""Writes a trained model as folders that other programs load, each format in its own file or folder."""
