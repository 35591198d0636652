"""Annotates image shards: text, tags and boxes in one pass over the images."""

from pipelines.annotate.run import annotate as annotate
