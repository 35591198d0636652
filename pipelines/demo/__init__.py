"""What `shardloom demo` runs on, made on the spot: web-like pictures with known text, packed as image shards.

Nothing here is read by the rest of the pipelines, and nothing here needs the network, a font file or a data file.
"""
