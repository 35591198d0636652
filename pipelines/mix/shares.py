"""Computes the shares of a mixture: those that its recipe asks for, and those that its set has."""

from collections import Counter
from typing import Any

from curation.mixture.image_tokens import MULTIMODAL_TOKENS
from curation.mixture.weights import compute_shares


def summarise_mixture(recipe: dict[str, Any], counts: Counter[str]) -> dict[str, Any]:
    """Returns the counts and shares of each source in a mixture's set, beside the shares that its recipe asks for."""
    known = ("tokens", "images", "characters", MULTIMODAL_TOKENS)
    measures = ["samples", *(name for name in known if name in counts)]
    rows = []
    for path, share in compute_shares(recipe["weights"]).items():
        group, _, name = path.rpartition(".")
        held = {measure: counts[f"{name}.{measure}"] for measure in measures}
        rows.append({"source": name, "group": group, "asked": float(share), "counts": held})
    return add_shares(rows, recipe["unit"])


def add_shares(rows: list[dict[str, Any]], unit: str) -> dict[str, Any]:
    """Adds to each source its actual shares, and returns the totals, of the measures that all sources have."""
    common = [name for name in rows[0]["counts"] if all(name in row["counts"] for row in rows)]
    totals = {name: sum(row["counts"][name] for row in rows) for name in common}
    got = [{name: row["counts"][name] / max(total, 1) for name, total in totals.items()} for row in rows]
    sources = [row | {"got": parts} for row, parts in zip(rows, got, strict=True)]
    return {"unit": unit, "totals": totals, "sources": sources}
