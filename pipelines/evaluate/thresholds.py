"""Checks measured scores against limits, so that a script fails where a model or a set became worse."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from schemas.errors import ShardloomError, UsageError

FALLING = frozenset(
    (
        "cer",
        "wer",
        "ordinary_cer",
        "ordinary_wer",
        "leaked",
        "attack_success_rate",
        "contradicted",
        "contradicted_of_checked",
        "captions_contradicted",
        "unchecked",
    )
)
"""Figures of which less is better."""

_ROWS = {"classes": ("label",), "sources": ("source",), "captions": ("caption", "source"), "tasks": ("name",)}
"""Where an evaluation's plain data have rows of figures, and the fields that name a row."""


class ScoreUnderLimit(ShardloomError):
    """Reports a score that is worse than its limit."""


def check_limits(limits: Sequence[str], found: Mapping[str, Any]) -> None:
    """Raises `ScoreUnderLimit` for the scores of an evaluation that are worse than their limit `NAME=VALUE`.

    `found` is the evaluation as plain data, whose units VALUE has. A figure of which less is better is worse above its
    limit; one without a value is worse than any. Raises `UsageError` for a limit of another form or an unknown name.
    """
    scores = dict(name_scores(found)) if limits else {}
    faults = []
    for limit in limits:
        name, least = _parse_limit(limit, next(iter(scores), "total.f1"))
        if name not in scores:
            raise UsageError(f"--fail-under: there is no score {name}, only {', '.join(scores)}")
        value, falls = scores[name], name.rpartition(".")[2] in FALLING
        if value is None:
            faults.append(f"{name} has no value")
        elif value > least if falls else value < least:
            faults.append(f"{name} is {value:.4g}, {'over' if falls else 'under'} {least:g}")
    if faults:
        raise ScoreUnderLimit(f"--fail-under: {'; '.join(faults)}")


def name_scores(found: Mapping[str, Any]) -> Iterator[tuple[str, float | None]]:
    """Yields each figure of an evaluation as `ROW.FIGURE`, with its value; all rows together are `total`."""
    for part, names in _ROWS.items():
        for row in found.get(part, ()):
            yield from _name_figures(".".join(row[name] for name in names), row)
    yield from _name_figures("total", found.get("total", {}))


def _name_figures(name: str, row: Mapping[str, Any]) -> Iterator[tuple[str, float | None]]:
    for figure, estimate in {**row, **row.get("figures", {})}.items():
        if isinstance(estimate, Mapping) and "value" in estimate:
            yield f"{name}.{figure}", estimate["value"]
    if row.get("leaks"):
        yield from _name_figures(f"{name}.leaks", row["leaks"])


def _parse_limit(limit: str, example: str) -> tuple[str, float]:
    name, _, text = limit.rpartition("=")
    try:
        least = float(text)
    except ValueError:
        least = math.nan
    if not name or math.isnan(least):
        raise UsageError(f"--fail-under {limit!r}: it is not NAME=NUMBER, such as {example}=0.5")
    return name, least
