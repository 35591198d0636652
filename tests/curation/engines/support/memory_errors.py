"""Raises the errors by which libraries say that memory is full, without a GPU."""

import numpy as np
import onnxruntime

from curation.engines.ocr.runtime.onnx_sessions import ArenaSession

LIMIT = 1 << 20
"""The bytes of the arena that all `Filler`s of a process share."""


def _field(number: int, value: bytes | int) -> bytes:
    """A field of a protobuf message: a number, or bytes with their length before them."""
    if isinstance(value, int):
        return _varint(number << 3) + _varint(value)
    return _varint(number << 3 | 2) + _varint(len(value)) + value


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def _tensor(name: str, kind: int, dimension: bytes) -> bytes:
    return _field(1, name.encode()) + _field(2, _field(1, _field(1, kind) + _field(2, _field(1, dimension))))


def build_filler() -> bytes:
    """A network that makes as many zeros as its input `n` says, in the format of github.com/onnx/onnx's onnx.proto."""
    node = _field(1, b"n") + _field(2, b"zeros") + _field(4, b"ConstantOfShape")
    count = _tensor("n", 7, _field(1, 1))  # one int64
    zeros = _tensor("zeros", 1, _field(2, b"many"))  # floats
    graph = _field(1, node) + _field(2, b"filler") + _field(11, count) + _field(12, zeros)
    return _field(1, 8) + _field(7, graph) + _field(8, _field(2, 13))


class Filler:
    """A session that allocates what it is asked for, in an arena on the CPU that is limited as one on a GPU is."""

    _is_arena_there = False

    def __init__(self, arena: str | None = "cpu:0") -> None:
        if not Filler._is_arena_there:
            memory = onnxruntime.OrtMemoryInfo(
                "Cpu", onnxruntime.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, onnxruntime.OrtMemType.DEFAULT
            )
            same_as_requested = 1
            limits = onnxruntime.OrtArenaCfg({"max_mem": LIMIT, "arena_extend_strategy": same_as_requested})
            onnxruntime.create_and_register_allocator(memory, limits)
            Filler._is_arena_there = True
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        options.add_session_config_entry("session.use_env_allocators", "1")
        self.session = ArenaSession(build_filler(), options, ["CPUExecutionProvider"])
        self.session.arena = arena

    def fill(self, count: int) -> int:
        """Returns how many bytes it has filled. Raises ONNX Runtime's own error where the arena is too small."""
        [zeros] = self.session.run(None, {"n": np.array([count // 4], np.int64)})
        return int(zeros.nbytes)
