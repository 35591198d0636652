"""What this machine has: cores, memory and GPUs that this process may use."""

import os
from pathlib import Path


def cores() -> int:
    """The cores that this process may use: a container's share, not the host's."""
    return len(os.sched_getaffinity(0))


def memory() -> int:
    """Bytes of this machine's memory."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def gpus() -> int:
    """The GPUs that this process may use."""
    if not Path("/proc/driver/nvidia").exists():  # torch takes a second to import
        return 0
    import torch

    return torch.cuda.device_count()
