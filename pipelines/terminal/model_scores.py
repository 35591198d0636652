"""Prints the table of `shardloom evaluate model`."""

from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console  # noqa: TID251  for tables of cells
from rich.table import Table

from pipelines.terminal.tables import format_estimate, make_cell
from schemas.terminal import print_result

_LEFT_OUT = {"other_splits": "of other splits", "limit": "beyond `limit`"}


def print_model_scores(found: dict[str, Any]) -> None:
    """Prints scores, as returned by `pipelines.evaluate.model_scores.ModelScores.to_dict`: a row for each figure."""
    is_compared = any(task["differences"] is not None for task in found["tasks"])
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("task", overflow="fold")
    table.add_column("figure", overflow="fold")
    for title in ("shots", "questions", "score", *(["difference"] if is_compared else [])):
        table.add_column(title, justify="right", no_wrap=True)
    for task in found["tasks"]:
        for figure, estimate in task["figures"].items():
            cells = [f"{task['shots']}", f"{task['questions']:,}", format_estimate(estimate)]
            if task["differences"] is not None:
                cells.append(_format_difference(task["differences"][figure]))
            table.add_row(make_cell(task["task"]), make_cell(figure), *cells, end_section=True)
    Console().print(table)
    interval = found["interval"]
    print_result(
        f"scores in %, CIDEr times 100, with the {interval['confidence']:.0%} confidence interval below each, from "
        f"{interval['draws']:,} bootstrap resamples of the questions"
    )
    if is_compared:
        print_result("difference: from the other model, on the same questions")
    for task in found["tasks"]:
        notes = [f"{count:,} rows quarantined as {reason}" for reason, count in task["quarantined"].items()]
        notes += [f"{count:,} rows left out: {_LEFT_OUT[what]}" for what, count in task["left_out"].items()]
        notes += [f"{task['errors']:,} questions that the model could not take, scored as not answered"] * bool(
            task["errors"]
        )
        notes += [f"{task['cut']:,} answers cut by max_new_tokens"] * bool(task["cut"])
        notes += [f"{count:,} without a verdict: {reason}" for reason, count in task["without_verdict"].items()]
        if task["scored_by"].startswith("judge "):
            notes = [f"scored by the {task['scored_by']}", *notes]
        if notes:
            print_result(f"{task['name']}: {', '.join(notes)}")
        if task["leaks"] is not None:
            _print_leaks(task)


def _print_leaks(task: dict[str, Any]) -> None:
    """Prints how many questions are in training sets, the score without them, and pairs of a question and a sample."""
    leaks, compared = task["leaks"], task["leaks"]["compared"]
    share = leaks["questions"] / max(task["questions"], 1)
    print_result(
        f"{task['name']}: {leaks['questions']:,} of {task['questions']:,} questions ({share:.1%}) are in "
        f"{', '.join(compared['sets'])}: {leaks['by_image']:,} by an image, {leaks['by_text']:,} by a text, "
        f"{leaks['by_both']:,} by both in one of its {compared['samples']:,} samples"
    )
    if count := leaks["by_short_text"]:
        print_result(f"  {count:,} of them by a text of under 8 words alone, which may be asked about any image")
    if count := compared.get("questions_with_short_texts"):
        print_result(f"  {count:,} questions have texts of 3 to 7 words alone, found where a line or sentence is equal")
    for what in ("images", "texts"):
        if count := compared[f"questions_without_{what}"]:
            print_result(f"  {count:,} questions have no {what[:-1]} that can be compared")
    for pair in leaks["pairs"]:
        found = [f"image, {pair['distance']} of 256 bits differ"] if pair["distance"] is not None else []
        of = "a whole line or sentence" if pair["is_short"] else f"{pair['share'] or 0:.0%} of its 8-grams"
        found += [f"text, {of}"] if pair["share"] is not None else []
        print_result(f"  {pair['question']} = {pair['set']}/{pair['key']} ({'; '.join(found)})")
    if leaks["questions"]:
        figure, estimate = next(iter(leaks["figures"].items()))
        print_result(f"  {figure} without them: {format_estimate(estimate).replace(chr(10), ', ')}")


def _format_difference(figure: dict[str, float | None]) -> str:
    value, *ends = (None if part is None else f"{100 * part:+.1f}" for part in figure.values())
    if value is None:
        return "-"
    return value if None in ends else f"{value}\n{ends[0]} to {ends[1]}"
