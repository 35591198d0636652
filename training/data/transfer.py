"""Moves a batch from a worker to the trainer: in one buffer of shared memory, which is copied as it arrives.

By itself torch gives each tensor a file in /dev/shm and a descriptor for as long as the batch lives, eight a batch: a
step of 128 micro-batches reached `ulimit -n 1024`.
"""

import os
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor

from schemas.errors import ShardloomError, to_one_line
from training.batch import Batch, SampleName

SHARED_MEMORY = "/dev/shm"

_ALIGNMENT = 8  # bytes: an int64, the largest number in a batch

Layout = tuple[tuple[str, torch.dtype, tuple[int, ...]], ...]
"""Name, type and shape of each tensor in the buffer, in order."""


@dataclass(frozen=True, slots=True)
class SharedBatch:
    """Holds a batch in shared memory. Unpickled in another process it is a `Batch` in that process's own memory."""

    buffer: Tensor  # uint8
    layout: Layout
    samples: tuple[tuple[SampleName, ...], ...]

    def __reduce__(self) -> tuple[Any, ...]:
        return _receive_batch, (self.buffer, self.layout, self.samples)


def share_batch(batch: Batch) -> SharedBatch:
    """Copies a batch to shared memory. Raises `ShardloomError` when this has no room for it."""
    named = [(field.name, value) for field in fields(batch) if isinstance(value := getattr(batch, field.name), Tensor)]
    buffer = torch.zeros(sum(_align(tensor.nbytes) for _, tensor in named), dtype=torch.uint8)
    start = 0
    for _, tensor in named:
        buffer[start : start + tensor.nbytes] = tensor.flatten().view(torch.uint8)
        start += _align(tensor.nbytes)
    try:
        shared: Tensor = buffer.share_memory_()  # type: ignore[no-untyped-call]
    except RuntimeError as error:
        raise ShardloomError(
            f"data: {SHARED_MEMORY} has no room for a batch of {buffer.nbytes:,} bytes on its way from a worker"
            f"{_describe_size()}: enlarge it (docker run --shm-size), or set data.workers=0 or a lower data.prefetch "
            f"({to_one_line(error)})"
        ) from None
    return SharedBatch(shared, tuple((name, one.dtype, tuple(one.shape)) for name, one in named), batch.samples)


def _receive_batch(buffer: Tensor, layout: Layout, samples: tuple[tuple[SampleName, ...], ...]) -> Batch:
    """Copies a batch out of shared memory, which is freed when the caller drops `buffer`."""
    own, start = buffer.clone(), 0
    tensors = {}
    for name, dtype, shape in layout:
        size = torch.Size(shape).numel() * dtype.itemsize
        tensors[name] = own[start : start + size].view(dtype).view(shape)
        start += _align(size)
    return Batch(**tensors, samples=samples)


def _align(size: int) -> int:
    return -(-size // _ALIGNMENT) * _ALIGNMENT


def _describe_size() -> str:
    try:
        found = os.statvfs(SHARED_MEMORY)
    except OSError:
        return ""
    return f"; {found.f_bavail * found.f_frsize:,} of its {found.f_blocks * found.f_frsize:,} bytes are free"
