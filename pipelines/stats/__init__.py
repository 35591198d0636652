"""Reports the counts and times of output sets."""

from pipelines.stats.run import collect_stats as collect_stats
