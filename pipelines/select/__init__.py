"""Selects rows of DataComp's metadata by rules."""

from pipelines.select.run import select as select
