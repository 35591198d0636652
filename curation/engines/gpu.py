"""Finds the GPUs that this process may use, and the share of one that it may fill.

A worker may have a fraction of a GPU (`gpus: 0.25`). Ray only counts such workers: each of them sees the whole GPU, and
would take all of its memory. Engines ask for the share here, and limit their memory to it. The sizes come from NVIDIA's
driver, since neither torch nor CUDA's runtime is in every engine's environment.
"""

import ctypes
import os

SHARE_VARIABLE = "SHARDLOOM_GPU_SHARE"
DRIVER_LIBRARY = "libcuda.so.1"


def limit_gpus(gpus: float) -> None:
    """Limits this process to that many GPUs, a fraction being of one. With 0 it sees none.

    Ray does not hide the GPUs from a worker that requested none, so that each such worker would use the first.
    """
    if not gpus:
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    os.environ[SHARE_VARIABLE] = str(min(gpus or 1.0, 1.0))


def get_gpu_share() -> float:
    """Returns the share of a GPU's memory that this process may fill: 1 where it has whole GPUs or no limit."""
    return float(os.environ.get(SHARE_VARIABLE, 1.0))


def list_gpu_bytes() -> list[int]:
    """Returns the memory in bytes of each GPU that this process sees; nothing without a driver. Starts no context."""
    try:
        driver = ctypes.CDLL(DRIVER_LIBRARY)
    except OSError:
        return []
    count, device, size = ctypes.c_int(), ctypes.c_int(), ctypes.c_size_t()
    if driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(count)):
        return []
    sizes = []
    for number in range(count.value):
        driver.cuDeviceGet(ctypes.byref(device), number)
        driver.cuDeviceTotalMem_v2(ctypes.byref(size), device)
        sizes.append(size.value)
    return sizes
