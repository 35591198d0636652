"""Identifies the language of a caption with py3langid, which is deterministic and whose wheel contains its model.

The model needs no pickle. Of the alternatives, langdetect has no wheel, no release since 2021 and draws random numbers;
lingua's wheel has 96 MB; fastText, which DataComp used, downloads its model at first use.
"""

import hashlib
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from schemas.errors import UsageError
from schemas.records.fingerprint import EngineFingerprint

UNKNOWN = "und"  # for a text that gives no evidence of any language: digits, a file's name, an empty text


def detect_language(text: str) -> str:
    """Returns the ISO 639 code of the text's most likely language, or `UNKNOWN`.

    It takes about 1 s for 30,000 captions on one core.
    """
    model, nothing = _load_identifier()
    language, confidence = model.classify(text)
    return UNKNOWN if confidence == nothing else str(language)


def check_languages(codes: list[str]) -> None:
    """Raises `UsageError` for a code that `detect_language` never returns."""
    known = {UNKNOWN, *_load_identifier()[0].labels}
    for code in codes:
        if code not in known:
            raise UsageError(f"languages: py3langid does not know {code!r}: use ISO 639 codes, such as en, de, zh")


def build_language_fingerprint() -> EngineFingerprint:
    """Returns the fingerprint of py3langid's version and model; another version or model may find other languages."""
    import py3langid.langid as package

    weights = Path(package.MODEL_DIR, package.MODEL_FILE).read_bytes()
    sha256 = hashlib.sha256(weights).hexdigest()
    return EngineFingerprint(name="py3langid", version=version("py3langid"), weights_sha256=sha256, settings={})


@cache
def _load_identifier() -> tuple[Any, float]:
    import py3langid.langid as package  # imported here because its model takes 0.7 s and 100 MB

    return package.LanguageIdentifier.from_model_file(package.MODEL_FILE), package.RAW_FLOOR
