"""The model: vision tower, connector, language model, and how images come into a sequence. Knows no data sets."""
