"""Finds the texts around the turns of a conversation by rendering the tokenizer's own chat template."""
