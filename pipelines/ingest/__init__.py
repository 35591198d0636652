"""Converts published data sets into training shards."""

from pipelines.ingest.run import ingest as ingest
