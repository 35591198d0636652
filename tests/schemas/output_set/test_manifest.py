"""Manifests: rows are accounted for, and those of older versions stay readable."""

import pytest

from schemas.errors import ShardloomError
from schemas.output_set.manifest import InputFile, Manifest, OutputFile, seal
from schemas.records.fingerprint import EngineFingerprint

DATA = OutputFile(path="data/a.parquet", rows=3, size=10, sha256="d")
REST = OutputFile(path="quarantine/a.parquet", rows=2, size=5, sha256="q")
PRINT = EngineFingerprint(name="pixel", version="1", weights_sha256="", settings={})
INPUT = InputFile(path="a.tar", size=7, sha256="i")


def built(rows_in: int = 5, **changes: object) -> Manifest:
    """A manifest of three rows out and two left out."""
    values: dict[str, object] = {"reasons": ["too_small", "decode_error"], "fingerprints": {"ocr": PRINT}} | changes
    return Manifest.build("a", "r", inputs=[INPUT], rows_in=rows_in, data=DATA, others=[REST], **values)  # type: ignore[arg-type]


def test_what_is_built() -> None:
    manifest = built()
    assert (manifest.rows_in, manifest.rows_out, manifest.outputs) == (5, 3, [DATA, REST])
    assert list(manifest.reasons.items()) == [("decode_error", 1), ("too_small", 1)]
    assert Manifest.from_json(manifest.to_json()) == manifest
    assert built(reasons={"too_small": 2}).reasons == {"too_small": 2}


@pytest.mark.parametrize("rows_in", [4, 6])
def test_rows_that_are_not_accounted_for_are_refused(rows_in: int) -> None:
    with pytest.raises(ShardloomError, match=rf"^a: {rows_in} rows in, but 3 out and 2 quarantined$"):
        built(rows_in)


def test_a_manifest_of_before_is_read() -> None:
    """It called its fingerprints engines."""
    values = built().model_dump(mode="json")
    values["engines"] = values.pop("fingerprints")
    assert Manifest.from_json(seal(values)) == built()
