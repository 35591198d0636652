"""The card says what was measured: counts, shares, engines, scores, sources, faults, in tables that no text breaks."""

from typing import Any

from pipelines.output.card_page import build_measured, escape_markdown
from schemas.output_set.manifest import InputFile, Manifest, OutputFile
from schemas.records.fingerprint import EngineFingerprint

PRINT = EngineFingerprint(name="rapidocr", version="3.1", weights_sha256="0123456789abcdef", settings={})
SCORE = {"value": 0.5, "low": 0.25, "high": 0.75}


def manifest(name: str = "a", **changes: Any) -> Manifest:
    values: dict[str, Any] = {
        "inputs": [InputFile(path="a.tar", size=7, sha256="i")],
        "rows_in": 1005,
        "data": OutputFile(path=f"data/{name}.parquet", rows=1000, size=10, sha256="d"),
        "others": [],
        "reasons": {"too_small": 3},
        "left_out": {"limit": 2},
        "counts": {"text_lines": 7, "x.samples": 9},
        "fingerprints": {"ocr": PRINT},
    }
    return Manifest.build(name, "r", **values | changes)


def test_what_a_card_says() -> None:
    scores = [
        {"what": "ocr", "truth": "t.jsonl", "total": {"cer": SCORE, "wer": {"value": None, "low": None, "high": None}}},
        {"what": "captions", "captions": [{"caption": "dense", "source": "total", "contradicted": SCORE, "claims": 3}]},
    ]
    text = build_measured({"a": manifest(damage=["byte 7: cut"])}, {"input": ["images/*.tar"]}, scores, "mit")
    assert text == (
        "## What it holds\n\n| count | number |\n|---|---|\n| rows in | 1,005 |\n| rows out | 1,000 |\n"
        "| quarantined | 3 |\n| quarantined: too\\_small | 3 |\n| left out by limit | 2 |\n| text lines | 7 |\n\n"
        "## What made it\n\n| stage | name | version | sha256 of the weights |\n|---|---|---|---|\n"
        "| ocr | rapidocr | 3.1 | 0123456789ab |\n\n"
        "## How good it is, with 95% intervals\n\n| of | measure | value | truth |\n|---|---|---|---|\n"
        "| ocr | cer | 0.500 (0.250 to 0.750) | t.jsonl |\n"
        "| captions dense total | contradicted | 0.500 (0.250 to 0.750) |  |\n\n"
        "## What it is made from\n\n| source | licence |\n|---|---|\n| \\*.tar | not stated |\n\n"
        "Licence of this set: mit.\n\n"
        "## Known faults\n\n- a: byte 7: cut\n\n"
    )


def test_shares_of_a_mixture() -> None:
    counts = {"a.samples": 30, "b.samples": 10}
    recipe = {"kind": "mix", "unit": "samples", "weights": {"a": 3, "b": 1}}
    text = build_measured({"a": manifest(counts=counts)}, recipe, [], None)
    assert (
        "| source | share of samples, asked | got |\n|---|---|---|\n| a | 75.00% | 75.00% |\n| b | 25.00% | 25.00% |"
        in text
    )


def test_text_of_data_is_no_markup() -> None:
    assert escape_markdown("a|b <script>\n[x](y) `z` *") == "a\\|b \\<script\\> \\[x\\](y) \\`z\\` \\*"
