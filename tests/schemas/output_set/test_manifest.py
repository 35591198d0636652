"""Manifests: rows are accounted for, and those of older versions stay readable."""

from typing import Any

import pytest

from schemas.errors import ShardloomError
from schemas.output_set.manifest import InputFile, Manifest, OutputFile, seal
from schemas.records.fingerprint import EngineFingerprint

DATA = OutputFile(path="data/a.parquet", rows=3, size=10, sha256="d")
REST = OutputFile(path="quarantine/a.parquet", rows=2, size=5, sha256="q")
PRINT = EngineFingerprint(name="pixel", version="1", weights_sha256="", settings={})
INPUT = InputFile(path="a.tar", size=7, sha256="i")


def built(**changes: Any) -> Manifest:
    """A manifest of three rows out and two left out."""
    values = {"rows_in": 5, "data": DATA, "reasons": ["too_small", "decode_error"], "fingerprints": {"ocr": PRINT}}
    return Manifest.build("a", "r", inputs=[INPUT], others=[REST], **values | changes)


def test_what_is_built() -> None:
    manifest = built()
    assert (manifest.rows_in, manifest.rows_out, manifest.outputs) == (5, 3, [DATA, REST])
    assert list(manifest.reasons.items()) == [("decode_error", 1), ("too_small", 1)]
    assert Manifest.from_json(manifest.to_json()) == manifest
    assert built(reasons={"too_small": 2}).reasons == {"too_small": 2}
    told = {"retried": {"too_small": 2, "decode_error": 1}, "counts": {"captions": 3}, "damage": ["byte 7: cut"]}
    manifest = built(**told)
    assert {name: getattr(manifest, name) for name in told} == told
    assert list(manifest.retried) == ["decode_error", "too_small"]
    assert (built().retried, built().counts, built().damage) == ({}, {}, [])


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"rows_in": 4}, "4 rows in, but 3 out and 2 quarantined"),
        ({"rows_in": 6}, "6 rows in, but 3 out and 2 quarantined"),
        ({"rows_in": 0}, "0 rows in, but 3 out and 2 quarantined"),
        ({"data": DATA.model_copy(update={"rows": 2})}, "5 rows in, but 2 out and 2 quarantined"),
        ({"data": DATA.model_copy(update={"rows": 4})}, "5 rows in, but 4 out and 2 quarantined"),
        ({"data": None}, "5 rows in, but 0 out and 2 quarantined"),
        ({"reasons": ["too_small"]}, "5 rows in, but 3 out and 1 quarantined"),
        ({"reasons": {"too_small": 1, "decode_error": 2}}, "5 rows in, but 3 out and 3 quarantined"),
        ({"reasons": []}, "5 rows in, but 3 out and 0 quarantined"),
    ],
)
def test_rows_that_are_not_accounted_for_are_refused(changes: dict[str, Any], line: str) -> None:
    with pytest.raises(ShardloomError, match=f"^a: {line}$"):
        built(**changes)


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"rows_in": 4}, "a: 4 rows in, but 3 out and 2 quarantined"),
        ({"rows_out": 4}, "a: 5 rows in, but 4 out and 2 quarantined"),
        ({"reasons": {"too_small": 1}}, "a: 5 rows in, but 3 out and 1 quarantined"),
        ({"reasons": {"too_small": 3, "decode_error": -1}}, "reasons.decode_error: input should be greater than"),
        ({"retried": {"too_small": -1}}, "retried.too_small: input should be greater than"),
        ({"counts": {"captions": -1}}, "counts.captions: input should be greater than"),
    ],
)
def test_a_stored_manifest_that_does_not_account_for_its_rows_is_damaged(changes: dict[str, Any], line: str) -> None:
    with pytest.raises(ValueError, match=rf"(?i)^{line}"):
        Manifest.from_json(seal(built().model_dump(mode="json") | changes))


def test_a_manifest_of_before_is_read() -> None:
    """It called its fingerprints engines."""
    values = built().model_dump(mode="json")
    values["engines"] = values.pop("fingerprints")
    assert Manifest.from_json(seal(values)) == built()


@pytest.mark.parametrize(
    "path",
    [
        "../../dev/zero",
        "/etc/passwd",
        "data/../../x",
        "data//x",
        "data/./x",
        "data/..",
        "data/",
        "data",
        "",
        "manifests/a.json",
        "recipe.yaml",
        "s3://bucket/data/x",
        "data/a\0b",
    ],
)
def test_a_path_that_leads_out_of_the_set_is_refused(path: str) -> None:
    values = built().model_dump(mode="json")
    values["outputs"][0]["path"] = path
    with pytest.raises(ValueError, match="leads out of the set: its files are in data, index and quarantine"):
        Manifest.from_json(seal(values))


@pytest.mark.parametrize("name", ["", "..", ".", "../a", "/a", "a/b"])
def test_a_name_that_leads_out_of_the_set_is_refused(name: str) -> None:
    values = built().model_dump(mode="json") | {"name": name}
    with pytest.raises(ValueError, match="is not a name of an output"):
        Manifest.from_json(seal(values))


def test_the_number_of_outputs_is_told_only_of_several() -> None:
    """So that the manifests of all other sets have the bytes that they had."""
    assert b"unit_outputs" not in built().to_json()
    several = built().model_copy(update={"unit_outputs": 3})
    assert Manifest.from_json(several.to_json()) == several


def test_a_manifest_without_end_is_refused() -> None:
    with pytest.raises(ValueError, match="the JSON is nested too deeply"):
        Manifest.from_json(b"[" * 100_000)
