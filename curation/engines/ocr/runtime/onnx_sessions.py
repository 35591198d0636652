"""Creates ONNX Runtime's sessions on a CPU or a GPU, and refuses those that fell back to the CPU.

ONNX Runtime takes the CPU where it cannot load CUDA, with a line on stderr, and RapidOCR does the same. Both are
prevented here: a session runs where it was asked for, or there is none.
"""

import contextlib
import ctypes
import io
from pathlib import Path
from typing import Any

import onnxruntime

from curation.engines.batch_fitter import is_out_of_memory
from curation.engines.gpu import get_gpu_share, list_gpu_bytes
from schemas.errors import UsageError, to_one_line

CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"
ENVIRONMENT = "onnxruntime-gpu"
"""The environment that has ONNX Runtime's build for GPUs, which also is the name of its package."""

_CONTEXT_BYTES = 600 << 20  # an assumption: of each process's CUDA context and libraries, outside of the arenas
_MIN_ARENA_BYTES = 256 << 20  # less holds no network of PP-OCR with its largest input


class SessionMaker:
    """Creates the sessions of one engine on one device: `cpu`, `cuda` or `cuda:N`. Errors begin with its name."""

    def __init__(self, engine: str, device: str, sessions: int) -> None:
        """Divides the GPU's memory that this process may use among `sessions` sessions."""
        self.engine, self.device = engine, device
        kind, _, number = device.partition(":")
        self.provider, self.number = CUDA if kind == "cuda" else CPU, int(number or 0)
        self.provider_options: dict[str, Any] = {"arena_extend_strategy": "kSameAsRequested"}
        if self.provider == CUDA:
            self._check_gpu()
            self.provider_options |= self._plan_gpu(sessions)
            onnxruntime.set_default_logger_severity(4)  # it logs why it takes the CPU in several lines
            with contextlib.redirect_stdout(io.StringIO()):  # it prints each library that it does not find
                onnxruntime.preload_dlls()  # from the wheels of NVIDIA in this environment

    def create(self, path: Path) -> onnxruntime.InferenceSession:
        """Loads a network. Raises `UsageError` for a file that does not load, and where the device cannot be used."""
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        options.enable_cpu_mem_arena = True  # else each image's memory comes from the system anew: 16 % of OCR's time
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        providers: list[Any] = [(self.provider, self.provider_options)]
        try:
            session = ArenaSession(str(path), options, providers, enable_fallback=0)
        except Exception as error:  # noqa: BLE001  ONNX Runtime has no common class for its errors
            raise self._explain_failure(path, error) from None
        if (got := session.get_providers()[0]) != self.provider:
            raise self._make_device_error(f"got {got}: {_find_load_error()}")
        session.arena = f"gpu:{self.number}" if self.provider == CUDA else None
        return session

    def describe_package(self) -> str:
        """Returns the package, its version and, on a GPU, the provider, since another one gives other last digits."""
        if self.provider == CPU:
            return f"onnxruntime {onnxruntime.__version__}"
        return f"{ENVIRONMENT} {onnxruntime.__version__} {CUDA}"

    def _explain_failure(self, path: Path, error: Exception) -> UsageError:
        text = to_one_line(error, with_type=True)
        if self.provider == CUDA and is_out_of_memory(error):
            return UsageError(
                f"{self.engine}: {path.name} does not fit the memory that {self.device} has left: raise gpus in "
                f"run.resources, so that fewer workers share a GPU ({text})"
            )
        if self.provider == CUDA and "cuda" in text.lower():
            return self._make_device_error(f"got {text}")
        return UsageError(f"{self.engine}: cannot load {path}: {text}; pass another folder")

    def _check_gpu(self) -> None:
        """Raises `UsageError` where the package or the driver cannot have the GPU, before ONNX Runtime tries."""
        if CUDA not in onnxruntime.get_available_providers():
            raise UsageError(
                f"{self.engine}: asked for {self.device}, got {CPU}: this environment's onnxruntime is the build for "
                f"CPUs; run it in the environment {ENVIRONMENT} (shardloom engines --build {ENVIRONMENT})"
            )
        count = len(list_gpu_bytes())
        if self.number >= count:
            has = f"{count} GPU{'s' if count > 1 else ''} and no number {self.number}" if count else "no GPU"
            raise self._make_device_error(f"got {CPU}: this process sees {has}")

    def _plan_gpu(self, sessions: int) -> dict[str, Any]:
        """Returns the options of CUDA's provider: fp32 without TF32, and no search that times the algorithms.

        The search (`EXHAUSTIVE`, the default) runs for each new size of input, and its choice varies.
        """
        options = {"device_id": self.number, "cudnn_conv_algo_search": "HEURISTIC", "use_tf32": 0}
        share, total = get_gpu_share(), list_gpu_bytes()[self.number]
        if share >= 1:
            return options
        limit = plan_arena_bytes(total, share, sessions)
        if limit < _MIN_ARENA_BYTES:
            raise UsageError(
                f"{self.engine}: {share:g} of a GPU of {total >> 20} MiB leaves {max(0, limit) >> 20} MiB for each of "
                f"{sessions} networks, which need {_MIN_ARENA_BYTES >> 20}: raise gpus in run.resources"
            )
        return options | {"gpu_mem_limit": limit}

    def _make_device_error(self, reason: str) -> UsageError:
        return UsageError(
            f"{self.engine}: asked for {self.device}, {reason}; pass device=cpu, or run it on a node "
            f"whose `nvidia-smi` shows a GPU and a driver for CUDA {onnxruntime.cuda_version}"
        )


class ArenaSession(onnxruntime.InferenceSession):  # type: ignore[misc]  # onnxruntime is not typed
    """Frees the unused memory of its arena before it says that memory is full.

    An arena keeps each block that it has ever taken. Under a limit, the blocks of many small inputs leave no space for
    a larger input, although they are unused. A run can free them, but at its end only, even if it fails.
    """

    arena: str | None = None  # of which memory is freed, such as `gpu:0`

    def run(self, output_names: Any, input_feed: Any, run_options: Any = None) -> Any:
        """See ONNX Runtime. Tries again with an arena that was emptied."""
        try:
            return super().run(output_names, input_feed, run_options)
        except Exception as error:
            if self.arena is None or not is_out_of_memory(error):
                raise
        shrinking = onnxruntime.RunOptions()
        shrinking.add_run_config_entry("memory.enable_memory_arena_shrinkage", self.arena)
        with contextlib.suppress(Exception):  # the same error, or another that the last run will raise
            return super().run(output_names, input_feed, shrinking)
        return super().run(output_names, input_feed, run_options)


def plan_arena_bytes(total: int, share: float, sessions: int) -> int:
    """Returns the limit of each session's arena, where a process may fill a share of a GPU of `total` bytes."""
    return (int(total * share) - _CONTEXT_BYTES) // sessions


def _find_load_error() -> str:
    """Returns why ONNX Runtime did not take CUDA: the library that does not load, as the loader names it."""
    provider = Path(onnxruntime.__file__).parent / "capi" / "libonnxruntime_providers_cuda.so"
    try:
        ctypes.CDLL(str(provider))
    except OSError as error:
        return to_one_line(error)
    return "CUDA does not start"
