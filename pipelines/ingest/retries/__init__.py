"""Works again on the units of an ingest that have quarantined rows."""
