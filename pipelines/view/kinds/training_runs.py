"""Shows a training run: its loss, also that of held-out samples, in all and by source, and what each step took."""

import json
import math
import sys
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from pipelines.view.charts import draw_lines
from pipelines.view.kinds.declaration import SetView
from pipelines.view.options import ViewOptions
from pipelines.view.page import Card, Chart, Page, Section, Text, make_text
from pipelines.view.source import SetSource
from pipelines.view.spans import cut_text
from schemas.errors import ShardloomError, UsageError
from schemas.output_set.recipe_file import RECIPE_FILE
from schemas.storage.folder import Folder

METRICS_FILE, HELD_OUT_FILE, SAMPLES_FILE = "metrics.jsonl", "held_out.jsonl", "held_out_samples.jsonl"
MAX_STEPS = 3_000  # that are parsed of a log, ten times the points of a chart's line
MAX_METRICS = 256 << 20  # bytes; half a million steps with ten sources

_FIGURES = {
    "tokens_per_second": "Tokens a second",
    "gradient_norm": "Norm of the gradient",
    "padding": "Share of padding",
}
_SAMPLE_TEXTS = {"prompt": "The end of the prompt", "generated": "The model writes", "expected": "The sample goes on"}
_FACTS = ("step", "loss", "tokens_per_second", "images_per_second", "mfu", "bad_samples")
_CHOICES = ("key", "where", "images")


def build_page(source: SetSource, options: ViewOptions) -> Page:
    """Returns the page of a training run."""
    folder = source.folder
    if given := [name for name in _CHOICES if getattr(options, name)]:
        raise UsageError(f"--{given[0]}: {folder.url} is a training run, which holds no samples: leave it out")
    if not folder.exists(METRICS_FILE):
        raise ShardloomError(f"{folder.url}: no step is logged yet: it has no {METRICS_FILE}")
    steps = read_steps(folder, METRICS_FILE, MAX_STEPS)
    if not steps:
        raise ShardloomError(f"{folder.url}: no step is logged yet in {METRICS_FILE}")
    held_out = read_steps(folder, HELD_OUT_FILE) if folder.exists(HELD_OUT_FILE) else []
    page = Page(folder.url, "train")
    last = steps[-1]
    page.facts = [(name.replace("_", " "), _format(last[name])) for name in _FACTS if last.get(name) is not None]
    page.facts += _describe_held_out(held_out)
    page.charts = _draw_losses(steps, held_out) + _draw_figures(steps)
    text = folder.read_inside(RECIPE_FILE, MAX_METRICS).decode("utf-8", "replace")
    card = Card(RECIPE_FILE, (Text("", cut_text(text, ()), is_code=True),), is_wide=True)
    page.sections = [*_show_samples(folder), Section("Recipe", (card,), holds_samples=False)]
    return page


def read_steps(folder: Folder, name: str, most: int | None = None) -> list[Mapping[str, Any]]:
    """Returns the steps of a run that a log of this name has. Raises `ShardloomError` if a line is damaged.

    Of more than `most` lines, it parses about so many, evenly spaced, and the last two. The last line is passed over if
    it is cut: the run may be writing it.
    """
    lines = folder.read_inside(name, MAX_METRICS).decode("utf-8", "replace").splitlines()
    spacing = 1 if most is None else -(-len(lines) // most)
    steps: list[Mapping[str, Any]] = []
    for number, line in enumerate(lines, 1):
        if (number - 1) % spacing and number < len(lines) - 1:
            continue
        try:
            found = json.loads(line)
        except (ValueError, RecursionError):
            found = None
        if isinstance(found, dict) and isinstance(found.get("step"), int) and _is_number(found["step"]):
            steps.append(found)
        elif number < len(lines):
            raise ShardloomError(f"{folder.resolve_path(name)}: line {number} is damaged: it is no step")
    return steps


def _show_samples(folder: Folder) -> list[Section]:
    """Returns the held-out samples that the best checkpoint has continued, which are those of the last step."""
    lines = read_steps(folder, SAMPLES_FILE) if folder.exists(SAMPLES_FILE) else []
    if not lines:
        return []
    best = lines[-1]["step"]
    cards = []
    for line in lines:
        if line["step"] == best:
            texts = [make_text(title, str(line[name])) for name, title in _SAMPLE_TEXTS.items() if line.get(name)]
            place = "/".join(str(line[name]) for name in ("source", "shard", "key") if line.get(name))
            cards.append(Card(place, tuple(texts)))
    note = f"how the model of the lowest held-out loss, after step {best:,}, continues them"
    return [Section("Held-out samples", tuple(cards), note)]


def _describe_held_out(held_out: list[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """Returns the lowest held-out loss with its step, by which a run keeps its best checkpoint."""
    known = [line for line in held_out if _is_number(line.get("loss")) and math.isfinite(line["loss"])]
    if not known:
        return []
    best = min(known, key=lambda line: float(line["loss"]))
    return [("lowest held-out loss", f"{best['loss']:.4g} after step {best['step']:,}")]


def _draw_losses(steps: list[Mapping[str, Any]], held_out: list[Mapping[str, Any]]) -> list[Chart]:
    charts = draw_lines("Loss", _collect(steps, "loss"))
    if held_out:
        both = {"training": _collect(steps, "loss")["loss"], "held out": _collect(held_out, "loss")["loss"]}
        charts = draw_lines("Loss", both)
    charts += draw_lines("Loss, by source", _collect_by_source(steps))
    return charts + draw_lines("Held-out loss, by source", _collect_by_source(held_out))


def _collect_by_source(steps: list[Mapping[str, Any]]) -> dict[str, list[tuple[float, float]]]:
    sources: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for step in steps:
        losses = step.get("losses")
        for name, value in losses.items() if isinstance(losses, dict) else ():
            if _is_number(value):
                sources[name].append((step["step"], value))
    return sources


def _draw_figures(steps: list[Mapping[str, Any]]) -> list[Chart]:
    rates: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for step in steps:
        values = step.get("lr")
        for name, value in values.items() if isinstance(values, dict) else ():
            if _is_number(value):
                rates[name].append((step["step"], value))
    charts = draw_lines("Learning rate", rates)
    for name, title in _FIGURES.items():
        charts += draw_lines(title, _collect(steps, name))
    return charts


def _collect(steps: list[Mapping[str, Any]], name: str) -> dict[str, list[tuple[float, float]]]:
    return {name: [(step["step"], step[name]) for step in steps if _is_number(step.get(name))]}


def _is_number(value: Any) -> bool:
    """Returns whether a value of a log is a number that a float holds; JSON has whole numbers of any length."""
    return isinstance(value, int | float) and not isinstance(value, bool) and not abs(value) > sys.float_info.max


def _format(value: Any) -> str:
    return f"{value:,.4g}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else str(value)


VIEW = SetView(("train",), build_page)
