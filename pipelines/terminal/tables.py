"""Prints the tables of the command line. Text from data is escaped first (`escape_controls`)."""

from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console  # noqa: TID251  for tables of cells
from rich.table import Table
from rich.text import Text

from schemas.records.caption import Caption
from schemas.terminal import escape_controls, print_result


def make_cell(text: str) -> Text:
    """Makes a table cell that shows markup and emoji codes literally, with control characters escaped."""
    return Text(escape_controls(text))


def print_captions(captions: list[Caption]) -> None:
    """Prints all captions of one record."""
    table = Table("granularity", "alt text", "caption", show_lines=True)
    for caption in captions:
        raw = "with" if caption.include_datacomp_raw_cap else "without"
        table.add_row(str(caption.granularity), raw, make_cell(caption.text))
    Console().print(table)


def print_stats(found: dict[str, Any]) -> None:
    """Prints the result of `pipelines.stats.run.collect_stats`."""
    table = Table(show_header=False, box=None)
    for name in ("outputs", "rows_in", "rows_out", "quarantined"):
        table.add_row(name.replace("_", " "), f"{found[name]:,}")
        for reason, count in found["reasons"].items() if name == "quarantined" else ():
            table.add_row(make_cell(f"  {reason}"), f"{count:,}")
    for name, count in found["counts"].items():
        if "mixture" not in found or "." not in name:
            table.add_row(make_cell(name.replace("_", " ")), f"{count:,}")
    if "matching" in found:
        table.add_row("matching", f"{found['matching']:,}")
    for name in found.get("missing", ()):
        table.add_row(make_cell(f"missing {name}"), "rerun the command that made the set")
    for name, damage in found["damaged"].items():
        table.add_row(make_cell(f"damaged {name}"), make_cell("; ".join(damage)))
    times = found["times"]
    table.add_row("seconds", f"{times['seconds']:,.1f} in {times['runs']} runs")
    for stage, counters in times["stages"].items():
        rate = counters.get("images", 0) / max(counters.get("working_seconds", 0), 1e-9)
        summary = (
            f"{counters.get('images', 0):,.0f} images, {rate:.2f}/s, workers busy {compute_busy_share(counters):.0%}"
        )
        summary += "".join(f", {count:,} {name}" for name in ("deaths", "recycled") if (count := counters.get(name)))
        table.add_row(make_cell(f"stage {stage}"), make_cell(summary))
    for engine, errors in times["engine_errors"].items():
        table.add_row(make_cell(f"errors of {engine}"), f"{errors:,} images")
    if times["resent"]:
        table.add_row("retried", f"{times['resent']:,} requests")
    Console().print(table)
    if "mixture" in found:
        print_mixture(found["mixture"])


def print_engines(listed: list[dict[str, Any]]) -> None:
    """Prints the rows of `pipelines.engines.listing.as_dicts`; a star marks the default engine of a kind."""
    for one in listed:
        name = one["engine"] + " *" * one["is_default"]
        print_result(f"{one['kind']:9}{name:20}{'ready' if one['is_ready'] else 'not ready'}")
        details = [f"from:    {one['origin']}"] * bool(one["origin"]) + [f"missing: {what}" for what in one["missing"]]
        details += [one["note"]] * bool(one["note"])
        for line in details + [f"get it:  {one['get']}"] * bool(one["get"]):
            print_result(f"{'':9}{line}")


def print_mixture(found: dict[str, Any]) -> None:
    """Prints the counts and shares of each source in a mixture, or in the plan of one.

    Takes the result of `pipelines.mix.shares.summarise_mixture` or `pipelines.mix.run.preview_mixture`.
    """
    is_plan, unit, totals = "epochs" in found["sources"][0], found["unit"], found["totals"]
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("source", overflow="fold")
    titles = [Text.assemble("requested\n% ", make_cell(str(unit))), *map(make_cell, totals)]
    for title in (*titles, *(("epochs", "runs out at") if is_plan else ())):
        table.add_column(title, justify="right", no_wrap=True)
    for row in found["sources"]:
        name = f"{row['group']}.{row['source']}".lstrip(".")
        parts = [f"{row['counts'][measure]:,}\n{100 * row['got'][measure]:.4g} %" for measure in totals]
        end = "-" if row.get("runs_out_at") is None else f"{row['runs_out_at']:,}"
        epochs = [f"{row['epochs']:.3g}", end] if is_plan else []
        is_last = row is found["sources"][-1]
        table.add_row(make_cell(name), f"\n{100 * row['asked']:.4g} %", *parts, *epochs, end_section=is_last)
    table.add_row("total", "", *(f"{total:,}" for total in totals.values()), *([""] * 2 * is_plan))
    Console().print(table)


_FIGURES = {
    "boxes": {
        "precision": "precision",
        "recall": "recall",
        "recall_asked": "recall\n(prompted)",
        "f1": "F1",
        "ap": "AP",
        "mean_iou": "IoU",
    },
    "ocr": {
        "cer": "CER",
        "wer": "WER",
        "ordinary_cer": "CER\n(ordinary)",
        "ordinary_wer": "WER\n(ordinary)",
        "places_found": "text boxes\nfound",
    },
}

_OPTIONAL_FIGURES = ("recall_asked", "ordinary_cer", "ordinary_wer", "places_found")
"""Those of sets with tags, of complete truths where jiwer is installed, and of truths with places."""


def compute_busy_share(counters: dict[str, float]) -> float:
    """Returns the fraction (0 to 1) of a stage's available worker time, after start-up, that was spent on batches."""
    return min(1.0, counters.get("busy_seconds", 0) / max(counters.get("offered_seconds", 0), 1e-9))


def print_evaluation(found: dict[str, Any]) -> None:
    """Prints an evaluation, as returned by `pipelines.evaluate.run.Evaluation.to_dict`."""
    Console().print(_build_evaluation_table(found))
    interval = found["interval"]
    part = f"{interval['confidence']:.0%} confidence interval"
    print_result(
        f"figures in %, with the {part} below each, from {interval['draws']:,} bootstrap resamples of the images",
    )
    if found["what"] == "boxes":
        print_result(f"a true box is found if a box of its class overlaps it with an IoU of at least {found['iou']:g}")
        if found["total"]["recall_asked"]["value"] is not None:
            print_result("recall (prompted): the recall of the objects whose class the detector was asked for")
        print_result(
            f"AP: average precision, interpolated at {found['interpolation']}; its total is the mean of the classes, "
            "and each other total is that of all boxes together"
        )
        if (estimate := found["total"]["coco_ap"])["value"] is not None:
            figure = format_estimate(estimate).replace("\n", ", ")
            print_result(f"COCO's AP@[.5:.95], by pycocotools: {figure}; --json has that of each class")
    elif found["total"]["ordinary_cer"]["value"] is not None:
        print_result("ordinary: by jiwer, in the order of reading, which the other rates ignore")
    images = found["images"]
    failed = f", {images['failed']:,} of them with nothing found, because the engine failed" if images["failed"] else ""
    print_result(f"scored: {images['scored']:,} of {images['truth']:,} images of the ground truth{failed}")
    if left := [f"{images[name]:,} {why}" for name, why in _NOT_SCORED.items() if images[name]]:
        print_result(f"not scored: {', '.join(left)}")


_NOT_SCORED = {
    "without_boxes": "without boxes in the ground truth",
    "untied": "without uid",
    "absent": "not in the set",
    "quarantined": "quarantined",
    "other_shape": "of another shape than in the ground truth",
}


def _build_evaluation_table(found: dict[str, Any]) -> Table:
    """Builds a table with a row per class or source, and their total. Optional columns without a value are left out."""
    boxes, total = found["what"] == "boxes", found["total"]
    name, count, rows = ("label", "objects", found["classes"]) if boxes else ("source", "images", found["sources"])
    titles = {
        figure: title
        for figure, title in _FIGURES[found["what"]].items()
        if figure not in _OPTIONAL_FIGURES or total[figure]["value"] is not None
    }
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("class" if boxes else name, overflow="fold")
    for title in (count, *titles.values()):
        table.add_column(title, justify="right", no_wrap=True)
    for row in [*rows, total]:
        figures = [format_estimate(row[figure]) for figure in titles]
        table.add_row(make_cell(row[name]), f"{row[count]:,}", *figures, end_section=row is (rows or [None])[-1])
    return table


def format_estimate(figure: dict[str, float | None]) -> str:
    """Returns an estimate in %, with its interval in a second line; a dash if it has no value."""
    value, *ends = (None if part is None else 100 * part for part in figure.values())
    if value is None:
        return "-"
    interval = "-".join(f"{end:.1f}" if end < 9.95 else f"{end:.0f}" for end in ends if end is not None)
    return f"{value:.1f}\n{interval}" if interval else f"{value:.1f}"
