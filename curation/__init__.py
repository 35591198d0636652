"""What is done to one record or one batch: decoding, engines, captions, filters, quality.

Knows no Ray and no shards.
"""
