"""Implements `shardloom demo`: it draws web-like pictures, packs them as image shards and runs every step on them.

No other folder of the pipelines imports it, and it needs no network, font file or data file.
"""
