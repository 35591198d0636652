"""Prints the plan and the table of `shardloom compare`."""

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console  # noqa: TID251  for tables of cells
from rich.table import Table

from pipelines.terminal.tables import make_cell
from schemas.terminal import print_result

NAMES = {"a": "A", "b": "B", "null": "A again"}
UNEQUAL = 0.02
"""The difference of the tokens or images seen, relative, that is told: packing leaves 1 % of positions empty."""


def print_comparison_plan(found: Mapping[str, Any]) -> None:
    """Prints a plan, as returned by `pipelines.compare.run.ComparisonPlan.to_dict`."""
    for arm, path in found["recipes"].items():
        if arm in found["steps"]:
            steps, samples = found["steps"][arm], found["samples"][arm]
            print_result(f"{NAMES[arm]}: {path}, {steps:,} steps; a pass has {samples:,} samples")
    print_result(f"budget: {_describe_positions(found)} for each training")
    print_result(_describe_order(found["order_difference"]))
    trainings = found["trainings"]
    finished = sum(one["is_finished"] for one in trainings)
    listed = ", ".join(f"{NAMES[one['arm']]} seed {one['seed']}" for one in trainings if not one["is_finished"])
    print_result(f"trainings: {len(trainings)}, of which {finished} are finished; to do: {listed or 'none'}")
    for task in found["tasks"]:
        shots = ", ".join(map(str, task["shots"]))
        print_result(f"task {task['name']}: {task['questions']:,} questions, {shots} shots")


def print_comparison(found: Mapping[str, Any]) -> None:
    """Prints a comparison, as returned by `pipelines.compare.scores.Comparison.to_dict`: a row for each figure."""
    has_null = "null" in found["recipes"]
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("task", overflow="fold")
    table.add_column("figure", overflow="fold")
    for title in ("shots", "questions", "A", "B", "B - A", "could be\nseen", *(["A again\n- A"] if has_null else [])):
        table.add_column(title, justify="right", no_wrap=True)
    for task in found["tasks"]:
        for figure, one in task["figures"].items():
            cells = [f"{task['shots']}", f"{task['questions']:,}"]
            cells += [format_seeds(one["by_seed"][arm]) for arm in ("a", "b")]
            cells += [format_effect(one["difference"]), format_value(one["difference"]["detectable"], "")]
            cells += [format_effect(one["null"])] if has_null else []
            table.add_row(make_cell(task["task"]), make_cell(figure), *cells, end_section=True)
    Console().print(table)
    _print_notes(found)


FEWEST_SEEDS = 3  # whose intervals cover as much as they say: those of two cover 90 % to 96 % in simulations


def _print_notes(found: Mapping[str, Any]) -> None:
    interval, recipes = found["interval"], found["recipes"]
    print_result(f"A: {recipes['a']}; B: {recipes['b']}; each {len(found['seeds']['a'])} trainings")
    print_result(
        f"figures in %, CIDEr times 100, with each seed's below the mean; differences with the "
        f"{interval['confidence']:.0%} confidence interval over seeds and questions"
    )
    print_result(
        f"could be seen: the true difference that {interval['power']:.0%} of such comparisons would find; a smaller "
        "one may be there"
    )
    print_result(_describe_order(found["order_difference"]))
    seen = {NAMES[arm]: found["seen"][arm] for arm in ("a", "b")}
    listed = "; ".join(
        f"{name} {own['tokens']:,.0f} tokens, {own['images']:,.0f} images, {own['samples']:,.0f} samples"
        for name, own in seen.items()
    )
    print_result(f"seen in {_describe_positions(found)}, on average: {listed}")
    if len(found["seeds"]["a"]) < FEWEST_SEEDS:
        print_result("warning: intervals from 2 seeds hold the truth in 90% to 96% of cases only: use 3 or more")
    tokens, images = ([own[name] for own in seen.values()] for name in ("tokens", "images"))
    if found.get("equal") == "images":
        return
    if _are_unequal(tokens):
        print_result("warning: the tokens seen differ, because one recipe's sequences have more padding")
    if _are_unequal(images):
        print_result(
            f"images: B has seen {images[1] / images[0]:.0%} of A's; --equal images compares at as many images"
            if images[0]
            else "images: A has seen none, and B some"
        )


def _are_unequal(values: Sequence[float]) -> bool:
    return min(values) < (1 - UNEQUAL) * max(values)


def _describe_positions(found: Mapping[str, Any]) -> str:
    if by_arm := found.get("positions_by_arm"):
        return f"{by_arm['a']:,} positions of A and {by_arm['b']:,} of B"
    return f"{found['positions']:,} positions"


def _describe_order(difference: str | None) -> str:
    if difference is None:
        return "order: for one seed, both recipes show the same samples in the same order"
    return f"order: the recipes do not show the same samples in the same order: {difference}"


def format_seeds(values: Sequence[float | None]) -> str:
    """Returns the mean of a figure over the seeds, with each seed's below it; a dash where one has no value."""
    known = [value for value in values if value is not None]
    if len(known) < len(values):
        return "-"
    return f"{100 * fmean(known):.1f}\n{' '.join(f'{100 * value:.1f}' for value in known)}"


def format_effect(effect: Mapping[str, float | None]) -> str:
    """Returns a difference in %, with its interval below; without one, the value alone."""
    value = format_value(effect["value"])
    if effect["low"] is None:
        return value
    return f"{value}\n{format_value(effect['low'])} to {format_value(effect['high'])}"


def format_value(value: float | None, sign: str = "+") -> str:
    """Returns a value in %; a dash if there is none."""
    return "-" if value is None else f"{100 * value:{sign}.1f}"
