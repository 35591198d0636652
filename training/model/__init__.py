"""This package holds the model: vision tower, connector and language model. It does not depend on data sets."""
