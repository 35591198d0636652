"""The extras of the package: which libraries each adds, and the one line that says which is missing."""

from collections.abc import Mapping, Sequence
from importlib.util import find_spec

from schemas.errors import UsageError

EXTRAS: Mapping[str, Sequence[str]] = {
    "ocr": ("rapidocr", "onnxruntime", "cv2"),
    "train": ("torch", "transformers", "safetensors"),
    "s3": ("s3fs",),
    "captions": ("openai",),
    "evaluate": ("pycocotools", "jiwer"),
    "croissant": ("mlcroissant",),
}
"""By extra, the modules that are imported only where it is installed."""


def has_extra(extra: str) -> bool:
    """Returns whether all libraries of the extra are installed. Imports none."""
    return all(find_spec(name) is not None for name in EXTRAS[extra])


def require_extra(extra: str, what: str) -> None:
    """Raises `UsageError` if a library of the extra, which `what` needs, is not installed. Imports none."""
    if missing := [name for name in EXTRAS[extra] if find_spec(name) is None]:
        raise UsageError(f"{what} needs {', '.join(missing)}: pip install 'shardloom[{extra}]'")
