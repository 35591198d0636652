"""Reports the counts and times of output sets."""

from pipelines.stats.run import stats as stats
