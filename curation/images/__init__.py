"""Images: decoding, and filters on their sizes."""
