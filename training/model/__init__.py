"""The model: vision tower, resampler, language model, and how images come into a sequence. Knows no data sets."""
