"""Defines what a record is: typed records, Arrow schemas, published layouts, and the folders that commands write.

Nothing here processes a record (`curation` does) or knows how work is run (`pipelines` and `training` do).
"""
