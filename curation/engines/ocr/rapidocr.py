"""Declares RapidOCR as an engine: PP-OCR's networks on ONNX Runtime, with weights that ship in rapidocr's wheel."""

from curation.engines.declaration import EngineDeclaration, OtherEngines
from curation.engines.kinds import OCR, OcrEngine
from curation.engines.ocr.rapidocr_settings import RapidOcrSettings


def make_rapidocr(settings: RapidOcrSettings) -> OcrEngine:
    """Loads the weights. Raises `UsageError` for weights that are missing or unfit."""
    from curation.engines.ocr.runtime.rapidocr import RapidOcr

    return RapidOcr(settings)


def check_settings(settings: RapidOcrSettings, _: OtherEngines) -> list[str]:
    """Loads weights of the user's own, which takes half a second. Raises `UsageError` if they are missing or unfit."""
    if settings.weights is not None:
        from curation.engines.ocr.runtime.rapidocr import find_weight_files

        find_weight_files(settings.weights)
    return []


ENGINE = EngineDeclaration(
    name="rapidocr",
    kind=OCR,
    settings=RapidOcrSettings,
    make=make_rapidocr,
    extra="ocr",
    check=check_settings,
    restricted_settings=("weights",),
    implied_settings={"reading_order": "lines"},
    is_default=True,
)
