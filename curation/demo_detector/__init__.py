"""A small Grounding-DINO that ships with its recipe: drawn scenes, vocabulary, training, scores, weights.

A demonstration and a test instrument: it knows what `scenes` draws and nothing else. Nothing here is imported by the
engines; they load `weights/` as they would load any other folder.
"""
