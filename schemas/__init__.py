"""What a record is: typed records, Arrow schemas, published layouts that we read and write, and the folders of sets.

Nothing here does work on a record (`curation`) or knows how work is run (`pipelines`, `training`).
"""
