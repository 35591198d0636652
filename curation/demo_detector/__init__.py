"""A small Grounding-DINO that ships with its recipe: drawn scenes, vocabulary, training, scores, weights.

A demonstration and a test instrument: it knows what `scenes` draws and nothing else. The engine imports nothing from
here: it loads `weights/` as it would load any other folder.
"""
