"""Prints the table of `shardloom evaluate model`."""

from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console  # noqa: TID251  for tables of cells
from rich.table import Table

from pipelines.terminal.tables import format_estimate, make_cell
from schemas.terminal import print_result


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
        notes += [f"{task['errors']:,} questions too long for the model, scored as not answered"] * bool(task["errors"])
        notes += [f"{task['cut']:,} answers cut by max_new_tokens"] * bool(task["cut"])
        if notes:
            print_result(f"{task['name']}: {', '.join(notes)}")


def _format_difference(figure: dict[str, float | None]) -> str:
    value, *ends = (None if part is None else f"{100 * part:+.1f}" for part in figure.values())
    if value is None:
        return "-"
    return value if None in ends else f"{value}\n{ends[0]} to {ends[1]}"
