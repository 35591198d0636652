"""Works again on the quarantined rows of output sets."""

from pipelines.retry.run import retry as retry
