"""Reads evaluation tasks: questions about images, few-shot demonstrations, prompts, and how an answer is read out."""
