"""Reads text on a CPU with PP-OCR's networks, whose weights come in rapidocr's wheel, on ONNX Runtime.

The angle classifier is off: it turns upright lines upside down ('EXIT' becomes '1IX3'), which makes eight times the
errors. Everything runs on one thread: a second one gains nothing, more workers do. Lines are recognised one by one, so
that padding to a neighbour's width changes no confidence; that is not slower.
"""

import hashlib
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnxruntime
import rapidocr
from numpy.typing import NDArray
from rapidocr.ch_ppocr_det.utils import DetPreProcess

from curation.engines.ocr.rapidocr_settings import RapidOcrSettings
from curation.engines.ocr.runtime.text_lines import STRIDE, build_lines, resize_within
from curation.images.decode import RgbImage
from schemas.errors import UsageError, to_one_line
from schemas.records.fingerprint import EngineFingerprint
from schemas.records.text_line import TextLine

_SHIPPED = ("PP-OCRv6_det_small.onnx", "PP-OCRv6_rec_small.onnx")
_OWN = ("det.onnx", "rec.onnx")


class RapidOcr:
    """Implements `OcrEngine`. The same image gives the same lines and floats, whatever else is in its batch."""

    def __init__(self, settings: RapidOcrSettings | None = None) -> None:
        """Loads the weights, from disk only. Raises `UsageError` for weights that are missing or unfit."""
        self.settings = settings or RapidOcrSettings()
        detector, recogniser = find_weight_files(self.settings.weights)
        self.fingerprint = EngineFingerprint(
            name="rapidocr",
            version=f"{version('rapidocr')}, onnxruntime {onnxruntime.__version__}, opencv {cv2.__version__}",
            weights_sha256=hashlib.sha256(detector.read_bytes() + recogniser.read_bytes()).hexdigest(),
            settings=self.settings.model_dump(exclude={"weights"}),  # the path of the weights does not identify them
        )
        cv2.setNumThreads(1)
        self._reader = rapidocr.RapidOCR(params=_build_parameters(self.settings, detector, recogniser))
        self._reader._load_rec_model()  # now and not at the first image, like the detector
        network = self._reader._load_det_model()
        to_input = _DetectorInput(self.settings, network.mean, network.std)
        network.get_preprocess = lambda: to_input

    def annotate(self, images: Sequence[RgbImage]) -> list[list[TextLine]]:
        """Returns the lines of each image in reading order, one list for each image, empty where there is no text."""
        return [self._read_lines(image) for image in images]

    def _read_lines(self, image: RgbImage) -> list[TextLine]:
        bgr = cv2.cvtColor(resize_within(image, self.settings.max_side), cv2.COLOR_RGB2BGR)
        found = self._reader(bgr)
        if found.boxes is None:
            return []
        size = (bgr.shape[1], bgr.shape[0])
        return build_lines(found.txts, found.boxes, found.scores, size, self.settings.reading_order)


class _DetectorInput(DetPreProcess):  # type: ignore[misc]  # rapidocr is not typed
    """Resizes a picture for the detector. rapidocr's own rule enlarges a strip of text of 1500 x 40 pixels 18 times."""

    def __init__(self, settings: RapidOcrSettings, mean: Any, std: Any) -> None:
        super().__init__(mean=mean, std=std)
        self.settings = settings

    def resize(self, img: NDArray[np.uint8]) -> NDArray[np.uint8]:
        height, width = img.shape[:2]
        factor = min(self.settings.detect_side / max(height, width), self.settings.max_enlargement)
        size = [max(STRIDE, round(side * factor / STRIDE) * STRIDE) for side in (width, height)]
        return np.asarray(cv2.resize(img, size), np.uint8)


def find_weight_files(folder: Path | None) -> tuple[Path, Path]:
    """Returns the detector's and the recogniser's file, in the order in which they are loaded.

    Raises `UsageError` for a folder of the user's that lacks one, or has one that does not load.
    """
    names = _SHIPPED if folder is None else _OWN
    folder = folder or Path(rapidocr.__file__).parent / "models"
    detector, recogniser = (folder / name for name in names)
    for path in (detector, recogniser):
        if not path.is_file():
            raise UsageError(f"rapidocr: no weights at {path}; pass weights=FOLDER with {_OWN[0]} and {_OWN[1]} in it")
    if names is _OWN:
        _read_metadata(detector)
        if "character" not in _read_metadata(recogniser):  # rapidocr would try to download a list
            raise UsageError(f"rapidocr: {recogniser} holds no characters; pass one converted for rapidocr")
    return detector, recogniser


def _read_metadata(path: Path) -> dict[str, str]:
    """Returns the metadata of a network, which it loads. Raises `UsageError` if it can't."""
    try:
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    except Exception as error:  # noqa: BLE001  ONNX Runtime has no common class for its errors
        raise UsageError(
            f"rapidocr: cannot load {path}: {to_one_line(error, with_type=True)}; pass another folder"
        ) from None
    return dict(session.get_modelmeta().custom_metadata_map)


def _build_parameters(settings: RapidOcrSettings, detector: Path, recogniser: Path) -> dict[str, Any]:
    return {
        "Global.log_level": "critical",  # it warns about every picture without text
        "Global.use_cls": False,
        "Global.use_preprocess_img": False,  # `resize_within` does it and keeps the proportions
        "Global.text_score": settings.min_confidence,
        "Det.model_path": str(detector),  # with a path given, it never looks for a download
        "Rec.model_path": str(recogniser),
        "Rec.rec_batch_num": 1,
        "EngineConfig.onnxruntime.intra_op_num_threads": 1,
        "EngineConfig.onnxruntime.inter_op_num_threads": 1,
    }
