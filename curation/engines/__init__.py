"""Annotators. An engine turns a batch of decoded images into annotations and knows nothing of shards."""
