"""Declares RapidOCR as an engine: PP-OCR's networks on ONNX Runtime, with weights that ship in rapidocr's wheel."""

from importlib.util import find_spec

from curation.engines.declaration import EngineDeclaration, OtherEngines
from curation.engines.kinds import OCR, OcrEngine
from curation.engines.ocr.rapidocr_settings import RapidOcrSettings
from curation.engines.ocr.rapidocr_weights import find_weights


def make_rapidocr(settings: RapidOcrSettings) -> OcrEngine:
    """Loads the weights. Raises `UsageError` for weights that are missing or unfit."""
    from curation.engines.ocr.runtime.rapidocr import RapidOcr

    return RapidOcr(settings)


def choose_environment(settings: RapidOcrSettings) -> str | None:
    """Returns the environment with ONNX Runtime's build for GPUs, which cannot be beside the one for CPUs."""
    return "onnxruntime-gpu" if settings.device.startswith("cuda") else None


def check_settings(settings: RapidOcrSettings, _: OtherEngines) -> list[str]:
    """Loads weights of the user's own, which takes half a second. Raises `UsageError` if they are missing or unfit.

    Where this process lacks ONNX Runtime, since the engine runs in another environment, only their files are checked.
    """
    if settings.weights is not None:
        weights = find_weights(settings.weights)
        if find_spec("onnxruntime") is not None:
            from curation.engines.ocr.runtime.networks import check_networks

            check_networks(weights)
    return []


ENGINE = EngineDeclaration(
    name="rapidocr",
    kind=OCR,
    settings=RapidOcrSettings,
    make=make_rapidocr,
    environment=choose_environment,
    ignores_batches=True,
    extra="ocr",
    check=check_settings,
    restricted_settings=("weights",),
    implied_settings={"reading_order": "lines"},
    is_default=True,
)
