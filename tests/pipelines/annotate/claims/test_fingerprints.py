"""Runs that start a set together have one engine: that of the worker that is ready first."""

from pathlib import Path

import pytest

from pipelines.annotate.claims.fingerprints import agree_on_fingerprint, check_fingerprint
from schemas.errors import UsageError
from schemas.records.fingerprint import EngineFingerprint
from schemas.storage.folder import Folder

FIRST = EngineFingerprint(name="pixel", version="1", weights_sha256="", settings={"size": 2})
SECOND = FIRST.model_copy(update={"version": "2"})


def test_the_first_engine_is_the_sets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = Folder(str(tmp_path))
    assert agree_on_fingerprint(folder, "ocr", FIRST) == FIRST
    assert agree_on_fingerprint(folder, "ocr", SECOND) == FIRST
    assert agree_on_fingerprint(folder, "tags", SECOND) == SECOND
    monkeypatch.setattr(Folder, "exists", lambda *_: False)  # another worker writes it just now
    assert agree_on_fingerprint(folder, "ocr", SECOND) == FIRST
    with pytest.raises(
        UsageError, match=r"with another ocr engine \(version was '1', is '2'\): use that engine, or a new output"
    ):
        check_fingerprint("ocr", FIRST, SECOND)
