"""DataComp's metadata, made on the spot, and its rules once more, in plain Python."""

import hashlib
import math
import random
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from curation.selection.language import detect_language
from curation.selection.rules import SelectionRules

SCHEMA = pa.schema(
    [
        ("uid", pa.string()),
        ("url", pa.string()),
        ("text", pa.string()),
        ("original_width", pa.int64()),
        ("original_height", pa.int64()),
        ("clip_b32_similarity_score", pa.float32()),
        ("clip_l14_similarity_score", pa.float32()),
        ("face_bboxes", pa.list_(pa.list_(pa.float64()))),
        ("sha256", pa.string()),
    ]
)

TEXTS = [
    "A wooden table in the kitchen",
    "Haus am See mit Garten und Blick",
    "red shoes",
    "DSC_0042.jpg",
    "",
    None,
    "two\nlines and\u3000a wide space",
    "Vintage blue ceramic vase with a floral pattern on white ground",
    "Картина маслом на холсте",
    "\u00e9" * 5,
]

WHITE = "[^\t\n\v\f\r \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]+"  # Unicode's, which Python's is not


def uid_of(number: int) -> str:
    return hashlib.md5(str(number).encode()).hexdigest()


def row(number: int, **values: Any) -> dict[str, Any]:
    """A row of metadata; nothing is wrong with it."""
    dice = random.Random(number)
    uid = uid_of(number)
    return {
        "uid": uid,
        "url": f"https://example.org/{uid}.jpg",
        "text": dice.choice(TEXTS),
        "original_width": dice.choice([64, 199, 200, 300, 599, 600, 601, 4000]),
        "original_height": dice.choice([64, 199, 200, 300, 599, 600, 601, 4000]),
        "clip_b32_similarity_score": float(np.float16(dice.gauss(0.22, 0.06))),
        "clip_l14_similarity_score": float(np.float16(dice.gauss(0.2, 0.06))),
        "face_bboxes": [[0.25, 0.5, 0.75, 1.0]] * dice.choice([0, 0, 1, 2]),
        "sha256": hashlib.sha256(uid.encode()).hexdigest(),
    } | values


def faulty_rows(first: int) -> list[dict[str, Any]]:
    """Rows of which each has a fault, of its own or for most rules."""
    return [
        row(first, uid=None),
        row(first + 1, uid="0123"),
        row(first + 2, uid="g" * 32),
        row(first + 3, uid=uid_of(first + 3) + "\n"),
        row(first + 4, url=None),
        row(first + 5, url=" \n"),
        row(first + 6, clip_l14_similarity_score=None),
        row(first + 7, clip_b32_similarity_score=math.nan),
        row(first + 8, original_width=None),
        row(first + 9, original_height=0),
        row(first - 1),  # as one of the rows before
        row(first - 1, text="A wooden table in the kitchen", original_width=600, original_height=600),
        row(first + 12, uid=uid_of(first + 12).upper()),
    ]


def write_metadata(path: Path, rows: Sequence[dict[str, Any]], group: int = 64, schema: pa.Schema = SCHEMA) -> None:
    """One file of metadata."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(list(rows), schema=schema), path, row_group_size=group)


def pair(uid: str) -> tuple[int, int]:
    """A uid as subset files have it."""
    return int(uid[:16], 16), int(uid[16:], 16)


def top_threshold(scores: Sequence[float], fraction: float) -> float:
    """The least score of the top fraction, as DataComp's own code takes it."""
    ranked = sorted(scores, reverse=True)
    return ranked[min(int(len(ranked) * fraction), len(ranked) - 1)]


def fault_of(
    found: dict[str, Any], rules: SelectionRules, threshold: float | None, keep: set[Any] | None, leave: set[Any]
) -> str | None:
    """Why a row is left out, uids that came before apart."""
    if not re.fullmatch(r"[0-9a-fA-F]{32}", found["uid"] or "", re.ASCII):
        return "malformed_uid"
    if not (found["url"] or "").strip():
        return "missing_url"
    if any(
        found[name] is None or found[name] != found[name]
        for name, kind in rules.list_columns().items()
        if kind[0] == "n"
    ):
        return "missing_value"
    b32, l14 = (np.float32(found[f"clip_{name}_similarity_score"]) for name in ("b32", "l14"))
    if rules.min_clip_b32 is not None and b32 < np.float32(rules.min_clip_b32):
        return "low_similarity"
    if rules.min_clip_l14 is not None and l14 < np.float32(rules.min_clip_l14):
        return "low_similarity"
    if threshold is not None and (b32 if rules.top_by == "clip_b32" else l14) < threshold:
        return "below_top_fraction"
    return (
        image_fault(found, rules) or text_fault(found["text"] or "", rules) or subset_fault(found, rules, keep, leave)
    )


def image_fault(found: dict[str, Any], rules: SelectionRules) -> str | None:
    width, height = found["original_width"], found["original_height"]
    if (rules.min_width and width < rules.min_width) or (rules.min_height and height < rules.min_height):
        return "too_small"
    if rules.min_side and min(width, height) < rules.min_side:
        return "too_small"
    if (rules.max_width and width > rules.max_width) or (rules.max_height and height > rules.max_height):
        return "too_large"
    if rules.max_aspect and max(width, height) > rules.max_aspect * min(width, height):
        return "extreme_aspect"
    return None


def text_fault(text: str, rules: SelectionRules) -> str | None:
    words = len(re.findall(WHITE, text))
    if rules.min_characters is not None and len(text) < rules.min_characters:
        return "too_short"
    if rules.max_characters is not None and len(text) > rules.max_characters:
        return "too_long"
    if rules.min_words is not None and words < rules.min_words:
        return "too_few_words"
    if rules.max_words is not None and words > rules.max_words:
        return "too_many_words"
    return None


def subset_fault(found: dict[str, Any], rules: SelectionRules, keep: set[Any] | None, leave: set[Any]) -> str | None:
    if keep is not None and pair(found["uid"]) not in keep:
        return "not_in_subset"
    if pair(found["uid"]) in leave:
        return "excluded"
    if rules.languages and detect_language(found["text"] or "") not in rules.languages:
        return "other_language"
    return None


def faults_of(rows: Sequence[dict[str, Any]], rules: SelectionRules, *others: Any) -> list[str | None]:
    """Why each row of a file is left out, or None."""
    faults: list[str | None] = []
    seen = set()
    for found in rows:
        fault = fault_of(found, rules, *others)
        if fault is None and pair(found["uid"]) in seen:
            fault = "duplicate_uid"
        if fault is None:
            seen.add(pair(found["uid"]))
        faults.append(fault)
    return faults
