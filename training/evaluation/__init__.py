"""Lets a trained model answer the questions of evaluation tasks."""
