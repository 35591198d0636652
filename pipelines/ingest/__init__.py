"""Makes training shards of published sets."""

from pipelines.ingest.run import ingest as ingest
