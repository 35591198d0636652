"""The shares of a mixture: what its recipe asks for, and what its set holds."""

from collections import Counter
from typing import Any

from curation.mixture.weights import shares


def mixture(recipe: dict[str, Any], counts: Counter[str]) -> dict[str, Any]:
    """What a mixture's set holds of each source, against what its recipe asks for."""
    measures = ["samples", *(name for name in ("tokens", "images", "characters") if name in counts)]
    rows = []
    for path, share in shares(recipe["weights"]).items():
        group, _, name = path.rpartition(".")
        held = {measure: counts[f"{name}.{measure}"] for measure in measures}
        rows.append({"source": name, "group": group, "asked": float(share), "counts": held})
    return with_shares(rows, recipe["unit"])


def with_shares(rows: list[dict[str, Any]], unit: str) -> dict[str, Any]:
    """The sources of a mixture with their shares as got, and the totals, of all that is counted in each of them."""
    common = [name for name in rows[0]["counts"] if all(name in row["counts"] for row in rows)]
    totals = {name: sum(row["counts"][name] for row in rows) for name in common}
    got = [{name: row["counts"][name] / max(total, 1) for name, total in totals.items()} for row in rows]
    sources = [row | {"got": parts} for row, parts in zip(rows, got, strict=True)]
    return {"unit": unit, "totals": totals, "sources": sources}
