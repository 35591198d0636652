"""Chooses rows of DataComp's metadata."""

from pipelines.select.run import select as select
