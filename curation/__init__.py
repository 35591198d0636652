"""What is done to one record or one batch: decoding, engines, captions, filters, quality; and mixtures of sets.

Knows no Ray.
"""
