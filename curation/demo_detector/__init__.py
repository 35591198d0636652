"""This package is a small Grounding-DINO that ships with its recipe: scenes, vocabulary, training, scores, weights.

It is a demonstration and a test instrument: it knows only what `scenes` draws. The engine imports nothing from here: it
loads `weights/` like any other folder.
"""
