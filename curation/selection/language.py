"""The language of a caption, by py3langid: its model comes in its wheel, without pickle, and it draws no lots.

Of the other libraries one has no wheel, no release since 2021 and draws lots (langdetect), one is a wheel of 96 MB
(lingua), and fastText's, by which DataComp went, fetch their model when they are first used.
"""

import hashlib
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from schemas.errors import UsageError
from schemas.records.fingerprint import EngineFingerprint

UNKNOWN = "und"  # of a text in which nothing speaks for any language: digits, a file's name, nothing at all


def language_of(text: str) -> str:
    """ISO 639 code of the language that the text is most likely in; some 30,000 captions a second and core."""
    model, nothing = _identifier()
    language, confidence = model.classify(text)
    return UNKNOWN if confidence == nothing else str(language)


def check_languages(codes: list[str]) -> None:
    """Raises `UsageError` for a code that no text could get."""
    known = {UNKNOWN, *_identifier()[0].labels}
    for code in codes:
        if code not in known:
            raise UsageError(f"languages: {code!r} is none that py3langid knows: use ISO 639 codes, such as en, de, zh")


def fingerprint() -> EngineFingerprint:
    """Version and model, of which another may find other languages."""
    import py3langid.langid as package

    weights = Path(package.MODEL_DIR, package.MODEL_FILE).read_bytes()
    sha256 = hashlib.sha256(weights).hexdigest()
    return EngineFingerprint(name="py3langid", version=version("py3langid"), weights_sha256=sha256, settings={})


@cache
def _identifier() -> tuple[Any, float]:
    import py3langid.langid as package  # here, for its model takes 0.7 s and 100 MB

    return package.LanguageIdentifier.from_model_file(package.MODEL_FILE), package.RAW_FLOOR
