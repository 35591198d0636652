"""Languages of captions, as the package finds them."""

import pytest

from curation.selection.language import UNKNOWN, build_language_fingerprint, check_languages, detect_language
from schemas.errors import UsageError


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("A wooden table in the kitchen", "en"),
        ("Haus am See mit Garten", "de"),
        ("Картина маслом на холсте", "ru"),
        ("", UNKNOWN),
        ("\n", UNKNOWN),
    ],
)
def test_language(text: str, language: str) -> None:
    assert detect_language(text) == language


def test_languages_that_no_text_can_have_are_refused() -> None:
    check_languages(["en", "de", "zh"])
    with pytest.raises(UsageError, match="languages: py3langid does not know 'english': use ISO 639 codes"):
        check_languages(["en", "english"])


def test_the_fingerprint_tells_the_model() -> None:
    found = build_language_fingerprint()
    assert found.name == "py3langid"
    assert len(found.weights_sha256) == 64
