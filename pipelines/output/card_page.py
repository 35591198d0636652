"""Writes the part of a dataset card that says what was measured of a set: counts, shares, engines, sources, faults."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from curation.mixture.weights import compute_shares
from pipelines.output.totals import Totals, add_up_manifests
from schemas.masking import mask_secrets
from schemas.output_set.card import read_card, read_metadata
from schemas.output_set.manifest import Manifest
from schemas.output_set.unit_outputs import find_lost_outputs
from schemas.storage.folder import Folder

SOURCE_OPTIONS = ("input", "images", "captions", "sources")
"""The options of recipes that name what a set was made from."""

MAX_SOURCES = 20  # that a card lists: a recipe of a mixture may have thousands
MAX_FAULTS = 10
NOT_STATED = "not stated"
_ALSO_COUNTED = "."  # in the name of a count of one source of a mixture, which the shares show


def build_measured(
    manifests: Mapping[str, Manifest],
    recipe: Mapping[str, Any],
    scores: Sequence[Mapping[str, Any]],
    license: str | None,
) -> str:
    """Returns the sections of the card, as Markdown. The same set with the same scores gives the same text."""
    totals = add_up_manifests(manifests.values())
    sections = [
        ("What it holds", _list_counts(totals)),
        ("Shares", _list_shares(recipe, totals)),
        ("What made it", _list_engines(manifests.values())),
        ("How good it is, with 95% intervals", _list_scores(scores)),
        ("What it is made from", _list_sources(recipe, license)),
        ("Known faults", _list_faults(manifests, recipe, totals)),
    ]
    return "".join(f"## {title}\n\n{body}\n\n" for title, body in sections if body)


def _make_table(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = [_make_line(row) for row in rows]
    return "\n".join([_make_line(heads), f"|{'---|' * len(heads)}", *lines]) if lines else ""


def _make_line(cells: Sequence[object]) -> str:
    return f"| {' | '.join(escape_markdown(str(cell)) for cell in cells)} |"


def escape_markdown(text: str) -> str:
    """Returns text from data as one cell of a table: no markup, one line."""
    line = " ".join(text.split())
    for mark in "\\`*_<>[]|#":
        line = line.replace(mark, f"\\{mark}")
    return line


def _list_counts(totals: Totals) -> str:
    rows = [("rows in", totals.rows_in), ("rows out", totals.rows_out), ("quarantined", totals.quarantined)]
    rows += [(f"quarantined: {reason}", count) for reason, count in totals.reasons.most_common()]
    rows += [(f"left out by {option}", count) for option, count in totals.left_out.items()]
    rows += [(name.replace("_", " "), count) for name, count in totals.counts.items() if _ALSO_COUNTED not in name]
    return _make_table(("count", "number"), ((name, f"{count:,}") for name, count in rows))


def _list_shares(recipe: Mapping[str, Any], totals: Totals) -> str:
    """Returns the shares of a mixture's sources, as asked and as got, in the unit of its recipe."""
    try:
        unit, asked = str(recipe["unit"]), compute_shares(recipe["weights"])
    except (KeyError, TypeError, ValueError, AttributeError):
        return ""
    names = {path: path.rpartition(".")[2] for path in asked}
    got = {path: totals.counts[f"{name}.{unit}"] for path, name in names.items()}
    whole = max(1, sum(got.values()))
    rows = [(name, f"{float(asked[path]):.2%}", f"{got[path] / whole:.2%}") for path, name in names.items()]
    return _make_table(("source", f"share of {unit}, asked", "got"), rows)


def _list_engines(manifests: Iterable[Manifest]) -> str:
    found = {
        (stage, made.name, made.version, made.weights_sha256[:12])
        for manifest in manifests
        for stage, made in manifest.fingerprints.items()
    }
    return _make_table(("stage", "name", "version", "sha256 of the weights"), sorted(found))


def _list_scores(scores: Sequence[Mapping[str, Any]]) -> str:
    rows = []
    for found in scores:
        of_all = [found["total"]] if isinstance(found.get("total"), dict) else found.get("captions", [])
        for each in of_all:
            subject = " ".join(filter(None, [str(found["what"]), each.get("caption"), each.get("source")]))
            for name, value in each.items():
                if isinstance(value, dict) and value.keys() == {"value", "low", "high"} and value["value"] is not None:
                    rows.append((subject, name.replace("_", " "), _format_estimate(value), found.get("truth") or ""))
    return _make_table(("of", "measure", "value", "truth"), rows)


def _format_estimate(found: Mapping[str, float | None]) -> str:
    if found["low"] is None or found["high"] is None:
        return f"{found['value']:.3f}"
    return f"{found['value']:.3f} ({found['low']:.3f} to {found['high']:.3f})"


def _list_sources(recipe: Mapping[str, Any], license: str | None) -> str:
    """Returns the inputs with their licences: of sets, those that their cards state."""
    paths = [path for name in SOURCE_OPTIONS for path in _list_paths(recipe.get(name))]
    # The last part of a path alone: where the input was is in recipe.yaml, and a copy of it gives the same card.
    shown = [(PurePosixPath(mask_secrets(path)).name, _find_license(path)) for path in paths[:MAX_SOURCES]]
    more = [(f"and {len(paths) - MAX_SOURCES:,} more", "")] if len(paths) > MAX_SOURCES else []
    table = _make_table(("source", "licence"), [*shown, *more])
    stated = escape_markdown(license) if license else f"{NOT_STATED}; `shardloom card SET --license NAME` states it"
    own = f"Licence of this set: {stated}."
    return f"{table}\n\n{own}" if table else own


def _list_paths(value: object) -> list[str]:
    if isinstance(value, str):
        return [value]
    values = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [path for each in values for path in _list_paths(each)]


def _find_license(path: str) -> str:
    """Returns the licence that the card of a local set states."""
    if "://" in path or "*" in path:
        return NOT_STATED
    card = read_card(Folder(path)) if Folder(path).exists() else None
    found = read_metadata(card).get("license") if card else None
    return found if isinstance(found, str) else NOT_STATED


def _list_faults(manifests: Mapping[str, Manifest], recipe: Mapping[str, Any], totals: Totals) -> str:
    lines = [f"{name}: {line}" for name, damage in totals.damaged.items() for line in damage]
    lines += [f"{name}: this output is missing" for name in find_lost_outputs(manifests, recipe.get("kind"))]
    more = [f"and {len(lines) - MAX_FAULTS:,} more"] if len(lines) > MAX_FAULTS else []
    return "\n".join(f"- {escape_markdown(line)}" for line in [*lines[:MAX_FAULTS], *more])
