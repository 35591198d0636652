"""Prints the table of `shardloom evaluate captions`."""

from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console  # noqa: TID251  for tables of cells
from rich.table import Table

from pipelines.terminal.tables import format_estimate, make_cell
from schemas.terminal import print_result

_COUNTS = ("captions", "claims")
_SHARES = ("supported", "contradicted", "unchecked", "contradicted_of_checked", "captions_contradicted")


def print_faithfulness(found: dict[str, Any]) -> None:
    """Prints the faithfulness of captions, as returned by `pipelines.evaluate.captions.CaptionEvaluation.to_dict`."""
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("caption", overflow="fold")
    table.add_column("source", overflow="fold")
    for title in (*_COUNTS, *(name.replace("_", "\n") for name in _SHARES)):
        table.add_column(title, justify="right", no_wrap=True)
    for row in found["captions"]:
        shares = [format_estimate(row[name]) for name in _SHARES]
        names, counts = map(make_cell, (row["caption"], row["source"])), (f"{row[name]:,}" for name in _COUNTS)
        table.add_row(*names, *counts, *shares, end_section=row is found["captions"][-1])
    Console().print(table)
    interval = found["interval"]
    print_result(
        f"figures in %, with the {interval['confidence']:.0%} confidence interval below each, from "
        f"{interval['draws']:,} bootstrap resamples of the images"
    )
    print_result("supported, contradicted, unchecked: shares of the claims; captions contradicted: with one or more")
    for row in found["captions"]:
        kinds = ", ".join(
            f"{kind} {sum(each.values()):,} ({each['contradicted']:,} contradicted)"
            for kind, each in row["counts"].items()
        )
        print_result(f"{row['caption']} of {row['source']}: {kinds}")
    images = found["images"]
    print_result(f"checked: {images['checked']:,} of {images['images']:,} images")
    for name, counts in found["statuses"].items():
        left_out = [f"{count:,} {status}" for status, count in counts.items() if status != "ok"]
        if left_out:
            print_result(f"{name}: left out {', '.join(left_out)}")
    if unknown := [f"{images[name]:,} {why}" for name, why in _UNKNOWN.items() if images[name]]:
        print_result(f"unknown: {', '.join(unknown)}")


_UNKNOWN = {
    "without_caption": "without a caption",
    "without_lines": "without OCR's lines",
    "without_boxes": "without boxes",
}
