"""Reports the cores, memory and GPUs of this machine that this process may use."""

import os
import resource
import sys

from curation.engines.gpu import list_gpu_bytes


def count_cores() -> int:
    """Returns the number of cores that this process may use: a container's share, not the host's."""
    return len(os.sched_getaffinity(0))


def get_memory_bytes() -> int:
    """Returns the bytes of this machine's memory."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def get_peak_bytes() -> int:
    """Returns the most resident memory that this process has had, in bytes, pages shared with others included."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def count_gpus() -> int:
    """Returns the number of GPUs that this process may use."""
    return len(list_gpu_bytes())
