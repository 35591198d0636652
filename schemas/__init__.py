"""What a record is: typed records, Arrow schemas, and the published layouts that we read and write.

Nothing here does work on a record (`curation`) or knows how work is run (`pipelines`, `training`).
"""
