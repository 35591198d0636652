"""Prints what an annotation run will take."""

from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console  # noqa: TID251  for tables of cells
from rich.table import Table

from pipelines.terminal.tables import make_cell
from schemas.terminal import print_result

_STEPS = ("bytes", "kB", "MB", "GB", "TB", "PB")
_TITLES = ("workers", "images/s\n(95 %)", "prompts\nan image", "workers that\nbalance", "memory of\na worker")


def print_forecast(found: dict[str, Any]) -> None:
    """Prints a forecast, as returned by `pipelines.annotate.forecast.forecast.Forecast.to_dict`."""
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("stage", overflow="fold")
    for title in _TITLES:
        table.add_column(title, justify="right", no_wrap=True)
    prompts = found["facts"]["prompts"] or {}
    for row in found["stages"]:
        rate = row["images_per_second"]
        asked = f"{prompts[row['stage']]:.2f}" if row["stage"] in prompts else "-"
        table.add_row(
            make_cell(row["stage"]),
            f"{row['workers']:,}",
            f"{rate['value']:.2f}\n{rate['low']:.2f}-{rate['high']:.2f}",
            asked,
            f"{row['balancing_workers']:,}",
            format_bytes(row["worker_bytes"]),
        )
    Console().print(table)
    for line in list_lines(found):
        print_result(line)


def list_lines(found: dict[str, Any]) -> list[str]:
    """Returns what is said below the table: what the run waits for, its bytes, its time and its price."""
    facts, seconds, probe = found["facts"], found["seconds"], found["probe"]
    images = f"{found['images']:,} images" + ("" if found["are_images_given"] else " (by the bytes of the input)")
    lines = [
        f"the run waits for {' and '.join(found['slowest'])}: {1 / found['seconds_per_image']:.2f} images/s",
        f"bytes: {format_bytes(found['bytes_in'])} in, {format_bytes(found['bytes_out'])} out",
    ]
    if facts["names"] is not None:
        lines.append(f"tags an image: {facts['names']:.1f}")
    if facts["tokens"] is not None:
        lines.append(f"tokens of captions: {facts['tokens'] * found['images']:,.0f}")
    lines.append(
        f"{images}: {format_time(seconds['value'])}, 95 % interval {format_time(seconds['low'])} to "
        f"{format_time(seconds['high'])}; of it {format_time(found['start_seconds'])} to start"
    )
    if (money := found["money"]) is not None:
        lines.append(f"price: {money['value']:,.2f}, 95 % interval {money['low']:,.2f} to {money['high']:,.2f}")
    lines.append(
        f"from a probe of {probe['images']:,} images in {probe['chunks']:,} chunks; {facts['quarantined']:,} of "
        f"{facts['rows']:,} were left out"
    )
    return lines


def format_bytes(size: float) -> str:
    """Returns a size with a decimal unit, to three digits or whole bytes."""
    step = 0
    while size >= 1000 and step < len(_STEPS) - 1:
        size, step = size / 1000, step + 1
    return f"{size:.3g} {_STEPS[step]}" if step else f"{size:.0f} {_STEPS[0]}"


def format_time(seconds: float) -> str:
    """Returns a time in seconds, minutes, hours or days, to three digits."""
    for limit, unit, name in ((120, 1, "s"), (7200, 60, "min"), (172_800, 3600, "hours")):
        if seconds < limit:
            return f"{seconds / unit:.3g} {name}"
    return f"{seconds / 86_400:.3g} days"
