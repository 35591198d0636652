"""Reads text with PP-OCR's networks, whose weights come in rapidocr's wheel, by ONNX Runtime on a CPU or a GPU.

The angle classifier is off: it turns upright lines upside down ('EXIT' becomes '1IX3'), which makes eight times the
errors. Everything runs on one thread: a second one gains nothing, more workers do. By default lines are recognised one
by one, so that padding to a neighbour's width changes no confidence; on a CPU that is not slower.
"""

import hashlib
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

import cv2
import numpy as np
import rapidocr
from numpy.typing import NDArray
from omegaconf import flag_override
from rapidocr.ch_ppocr_det.utils import DetPreProcess

from curation.engines.batch_fitter import PassSize
from curation.engines.ocr.rapidocr_settings import RapidOcrSettings
from curation.engines.ocr.rapidocr_weights import RapidOcrWeights, find_shipped_weights, find_weights
from curation.engines.ocr.runtime.networks import SESSIONS, load_networks
from curation.engines.ocr.runtime.onnx_sessions import SessionMaker
from curation.engines.ocr.runtime.text_lines import STRIDE, build_lines, resize_within
from curation.images.decode import RgbImage
from schemas.records.fingerprint import EngineFingerprint
from schemas.records.text_line import TextLine


class RapidOcr:
    """Implements `OcrEngine`. The same image gives the same lines and floats, whatever else is in its batch."""

    def __init__(self, settings: RapidOcrSettings | None = None) -> None:
        """Loads the weights, from disk only. Raises `UsageError` for unfit weights and an unfit device."""
        self.settings = settings or RapidOcrSettings()
        folder = self.settings.weights
        weights = find_shipped_weights() if folder is None else find_weights(folder)
        maker = SessionMaker("rapidocr", self.settings.device, SESSIONS)
        self.fingerprint = _build_fingerprint(self.settings, weights, maker)
        self.pass_size = PassSize(self.settings.lines_per_pass, "line")  # smaller where the GPU's memory is full
        cv2.setNumThreads(1)
        self._reader = rapidocr.RapidOCR(params=_build_parameters(self.settings, weights))
        detector, recogniser = load_networks(weights, maker)
        with flag_override(self._reader.cfg, "allow_objects", True):  # it would load them anew, and where it likes
            self._reader.cfg.Det.session, self._reader.cfg.Rec.session = detector, recogniser
        self._recogniser = self._reader._load_rec_model()  # now and not at the first image, like the detector
        network = self._reader._load_det_model()
        to_input = _DetectorInput(self.settings, network.mean, network.std)
        network.get_preprocess = lambda: to_input

    def annotate(self, images: Sequence[RgbImage]) -> list[list[TextLine]]:
        """Returns the lines of each image in reading order, one list for each image, empty where there is no text."""
        return [self._read_lines(image) for image in images]

    def _read_lines(self, image: RgbImage) -> list[TextLine]:
        bgr = cv2.cvtColor(resize_within(image, self.settings.max_side), cv2.COLOR_RGB2BGR)
        self._recogniser.rec_batch_num = self.pass_size.size
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


def _build_fingerprint(settings: RapidOcrSettings, weights: RapidOcrWeights, maker: SessionMaker) -> EngineFingerprint:
    files = [weights.detector, weights.recogniser, *([weights.dictionary] if weights.dictionary else [])]
    found = settings.model_dump(exclude={"weights"})  # the path of the weights does not identify them
    return EngineFingerprint(
        name="rapidocr",
        version=f"{version('rapidocr')}, {maker.describe_package()}, opencv {cv2.__version__}",
        weights_sha256=hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest(),
        settings=found | ({"device": "cuda"} if "device" in found else {}),  # not which one
    )


def _build_parameters(settings: RapidOcrSettings, weights: RapidOcrWeights) -> dict[str, Any]:
    return {
        "Global.log_level": "critical",  # it warns about every picture without text
        "Global.use_cls": False,
        "Global.use_preprocess_img": False,  # `resize_within` does it and keeps the proportions
        "Global.text_score": settings.min_confidence,
        "Rec.rec_batch_num": settings.lines_per_pass,
        "Rec.rec_keys_path": str(weights.dictionary) if weights.dictionary else None,
    }
