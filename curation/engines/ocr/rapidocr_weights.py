"""Finds the weights of RapidOCR in a folder. Needs no library, so that any process can check them before a run.

RapidOCR publishes PP-OCR's networks as ONNX files. Their names say the version, the part and the size: of PP-OCRv5 the
server weights are `ch_PP-OCRv5_det_server.onnx` and `ch_PP-OCRv5_rec_server.onnx`, the mobile weights end in `mobile`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from curation.engines.safetensors_file import is_whole_file
from schemas.errors import UsageError

REQUIRED_FILES = (
    "one *det*.onnx and one *rec*.onnx as RapidOCR publishes them (ch_PP-OCRv5_det_server.onnx, "
    "ch_PP-OCRv5_rec_server.onnx), and the characters in *dict*.txt or *keys*.txt where the second lacks them"
)
_SHIPPED = ("PP-OCRv6_det_small.onnx", "PP-OCRv6_rec_small.onnx")
_DICTIONARIES = ("dict", "keys")  # in the names of PaddleOCR's lists of characters: ppocrv5_dict, ppocr_keys_v1


@dataclass(frozen=True, slots=True)
class RapidOcrWeights:
    """Lists the files of a set of weights. A classifier of orientation beside them is not used."""

    detector: Path
    recogniser: Path
    dictionary: Path | None  # None where the folder has none; the recogniser's metadata come before it


def find_shipped_weights() -> RapidOcrWeights:
    """Returns the weights in rapidocr's wheel, PP-OCRv6 small. Raises `UsageError` if rapidocr is not installed."""
    package = find_spec("rapidocr")
    if package is None or package.origin is None:
        raise UsageError("rapidocr: the package is not in this environment: pip install 'shardloom[ocr]'")
    folder = Path(package.origin).parent / "models"
    for name in _SHIPPED:
        if not (folder / name).is_file():
            raise UsageError(f"rapidocr: no weights at {folder / name}: install rapidocr again")
    return RapidOcrWeights(folder / _SHIPPED[0], folder / _SHIPPED[1], None)


def find_weights(folder: Path) -> RapidOcrWeights:
    """Finds the weights in the user's folder. Raises `UsageError` for missing, repeated and incomplete files."""
    if not folder.is_dir():
        raise UsageError(f"rapidocr: no folder {folder}; pass weights=FOLDER with {REQUIRED_FILES}")
    files = [path for path in sorted(folder.iterdir()) if path.is_file() and not path.name.startswith(".")]
    networks = [path for path in files if path.suffix == ".onnx"]
    lists = [path for path in files if path.suffix == ".txt" and any(word in path.name for word in _DICTIONARIES)]
    weights = RapidOcrWeights(
        _select_one(folder, "*det*.onnx", [path for path in networks if "det" in path.name.lower()]),
        _select_one(folder, "*rec*.onnx", [path for path in networks if "rec" in path.name.lower()]),
        _select_one(folder, "list of characters", lists) if lists else None,
    )
    for path in (weights.detector, weights.recogniser):
        if not is_whole_file(path):
            raise UsageError(f"rapidocr: {path} is empty, or a pointer of Git LFS; fetch it again")
    return weights


def _select_one(folder: Path, what: str, found: Sequence[Path]) -> Path:
    if len(found) == 1:
        return found[0]
    has = f"more than one {what} ({', '.join(path.name for path in found)})" if found else f"no {what}"
    raise UsageError(f"rapidocr: {has} in {folder}; pass weights=FOLDER with {REQUIRED_FILES}")
