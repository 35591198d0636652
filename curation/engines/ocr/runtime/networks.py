"""Loads RapidOCR's two networks, and checks that the recogniser has the right characters."""

from pathlib import Path
from typing import Any

import onnxruntime

from curation.engines.ocr.rapidocr_weights import REQUIRED_FILES, RapidOcrWeights
from curation.engines.ocr.runtime.onnx_sessions import SessionMaker
from schemas.errors import UsageError

SESSIONS = 2
_ADDED = 2  # classes of the recogniser beside its characters: the blank of CTC, and the space


def check_networks(weights: RapidOcrWeights) -> None:
    """Loads the weights on the CPU. Raises `UsageError` for those that do not load or lack their characters."""
    load_networks(weights, SessionMaker("rapidocr", "cpu", SESSIONS))


def load_networks(
    weights: RapidOcrWeights, maker: SessionMaker
) -> tuple[onnxruntime.InferenceSession, onnxruntime.InferenceSession]:
    """Returns the sessions of the detector and the recogniser. Raises `UsageError`."""
    detector, recogniser = maker.create(weights.detector), maker.create(weights.recogniser)
    _check_characters(weights, recogniser)
    return detector, recogniser


def _check_characters(weights: RapidOcrWeights, recogniser: Any) -> None:
    """Raises `UsageError` if the recogniser has no characters (RapidOCR would download a list) or those of another."""
    held = recogniser.get_modelmeta().custom_metadata_map.get("character")
    if held is not None:
        where, count = weights.recogniser, len(held.splitlines())
    elif weights.dictionary is not None:
        where, count = weights.dictionary, _count_lines(weights.dictionary)
    else:
        raise UsageError(
            f"rapidocr: {weights.recogniser} holds no characters, and no file beside it does; pass weights=FOLDER with "
            f"{REQUIRED_FILES}"
        )
    classes = recogniser.get_outputs()[0].shape[-1]
    if isinstance(classes, int) and classes not in (count + _ADDED, count + _ADDED - 1):  # some lists hold the space
        raise UsageError(
            f"rapidocr: {where} has {count} characters, and {weights.recogniser.name} was trained on "
            f"{classes - _ADDED}: pass the list that belongs to it"
        )


def _count_lines(path: Path) -> int:
    try:
        path.read_text("utf-8")
    except UnicodeDecodeError:
        raise UsageError(f"rapidocr: {path} is not in UTF-8: pass the list that belongs to the recogniser") from None
    return len(path.read_bytes().splitlines())
