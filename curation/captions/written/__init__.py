"""This package holds the families of captions that models wrote in the pass that annotated the images."""
