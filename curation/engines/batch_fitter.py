"""Runs an engine in batches that fit the memory of its GPU.

`pipelines.engines.loader` runs every engine through a `BatchFitter`, so an engine needs no code for this. When a batch
does not fit, its size is halved, down to one image, and stays so for this process. An engine that divides a batch into
passes itself, so that fewer images need no less memory, has a `pass_size`, which is halved instead.

Smaller batches and passes give the same annotations as far as the engine's `batch_size` does not alter them: none on a
CPU, and at most a last digit on a GPU.
"""

import gc
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from curation.engines.kinds import BaseEngine, EngineInput, Kind
from schemas.errors import to_one_line

E = TypeVar("E", bound=BaseEngine)

_MESSAGES = (
    "cuda out of memory",  # torch
    "cuda error: out of memory",
    "cuda failure 2: out of memory",  # ONNX Runtime, from CUDA itself
    "failed to allocate memory for requested buffer",  # ONNX Runtime's arena
    "is smaller than requested bytes of",  # the same under its `gpu_mem_limit`
    "out of memory error on gpu",  # paddlepaddle
    "cublas_status_alloc_failed",
    "cudnn_status_alloc_failed",
)
_MAX_FAULT = 300  # characters of the library's message


class GpuMemoryError(Exception):
    """Says that an image does not fit the GPU's memory even alone and in the smallest passes."""


@dataclass(slots=True)
class PassSize:
    """Holds how many of something are computed at a time, such as images or lines of text."""

    size: int
    unit: str  # in the singular

    def halve(self) -> bool:
        """Halves the size and returns True, or returns False where it is one."""
        self.size, has_halved = max(1, self.size // 2), self.size > 1
        return has_halved

    def __str__(self) -> str:
        return f"one {self.unit}" if self.size == 1 else f"{self.size} {self.unit}s"


class BatchFitter(Generic[E]):
    """Annotates batches with one engine. `notify` gets one line for each time that a batch had to shrink."""

    def __init__(self, kind: Kind[E], engine: E, notify: Callable[[str], object]) -> None:
        self.kind, self.engine, self.notify = kind, engine, notify
        self.images: PassSize | None = None  # in a call of the engine; None: the whole batch
        passes = getattr(engine, "pass_size", None)
        self.passes = passes if isinstance(passes, PassSize) else None

    def annotate(self, batch: EngineInput) -> list[Any]:
        """Returns the values of the column, one for each image. Raises `GpuMemoryError` if one image is too large."""
        values: list[Any] = []
        halved: PassSize | None = None
        while len(values) < len(batch):
            part = batch.slice(len(values), len(values) + (self.images.size if self.images else len(batch)))
            try:
                found, fault = self.kind.annotate(self.engine, part), ""
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
                found, fault = [], to_one_line(_list_chain(error)[-1], _MAX_FAULT, with_type=True)
            if fault:  # here the exception is gone, and with it the tensors that its frames hold
                _free_memory()
                halved = self._halve(part, fault)
                continue
            if len(found) != len(part):
                raise ValueError(f"{len(found)} results for {len(part)} images")
            values += found
            if halved is not None:
                self.notify(f"{self.kind.name}: out of memory: a worker computes {halved} at a time from here on")
                halved = None
        return values

    def _halve(self, part: EngineInput, fault: str) -> PassSize:
        """Halves and returns what is computed at a time. Raises `GpuMemoryError` where nothing can be halved."""
        size = self.passes
        if size is None:
            size = self.images = self.images or PassSize(len(part), "image")
        if not size.halve():
            raise GpuMemoryError(f"the image does not fit the GPU's memory: {fault}")
        return size


def is_out_of_memory(error: BaseException) -> bool:
    """Returns whether a library reports by this exception, or by one that it wraps, that a GPU's memory is full."""
    chain = _list_chain(error)
    return any(_is_torch_error(one) or any(text in str(one).lower() for text in _MESSAGES) for one in chain)


def _list_chain(error: BaseException) -> list[BaseException]:
    """Returns the exception and those that it wraps, outermost first: RapidOCR wraps those of ONNX Runtime."""
    chain: list[BaseException] = []
    current: BaseException | None = error
    while current is not None and current not in chain:
        chain.append(current)
        current = current.__cause__
    return chain


def _is_torch_error(error: BaseException) -> bool:
    torch = sys.modules.get("torch")  # an engine that raises its error has imported it
    return torch is not None and isinstance(error, torch.OutOfMemoryError)


def _free_memory() -> None:
    """Returns the memory that torch keeps for later to the GPU, for the other processes that share it."""
    if (torch := sys.modules.get("torch")) is not None and torch.cuda.is_initialized():
        gc.collect()  # reference cycles may hold tensors
        torch.cuda.empty_cache()
