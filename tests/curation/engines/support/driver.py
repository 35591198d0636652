"""Builds a library that answers as NVIDIA's driver does, on a machine that has none."""

import shutil
import subprocess
from pathlib import Path

import pytest

from curation.engines.gpu import DRIVER_LIBRARY

_SOURCE = """
#include <stddef.h>
static const size_t sizes[] = {%s};
static int is_ready = 0;
int cuInit(unsigned flags) { is_ready = 1; return flags; }
int cuDeviceGetCount(int *count) { *count = %d; return is_ready ? 0 : 3; }
int cuDeviceGet(int *device, int ordinal) { *device = 100 + ordinal; return 0; }
int cuDeviceTotalMem_v2(size_t *bytes, int device) { *bytes = sizes[device - 100]; return 0; }
"""


def build_driver(folder: Path, sizes: list[int]) -> None:
    """Writes a driver with GPUs of these bytes into the folder; skips the test where there is no compiler."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler")
    source = folder / "driver.c"
    source.write_text(_SOURCE % (", ".join(map(str, sizes or [0])), len(sizes)))
    command = [compiler, "-shared", "-fPIC", "-o", str(folder / DRIVER_LIBRARY), str(source)]
    subprocess.run(command, check=True, capture_output=True)
