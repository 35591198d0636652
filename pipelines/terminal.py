"""What the command line prints. Text that came from images, files or the web is made harmless first."""

import unicodedata
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from schemas.caption import Caption

_UNSAFE = frozenset(("Cc", "Cs", "Zl", "Zp"))  # controls (ANSI escapes begin with one), half pairs, line ends
_TURNING = frozenset(("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"))  # they reorder what follows


def visible(text: str) -> str:
    r"""The text with all that would steer a terminal written out, as `\x1b`; every script stays as it is."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        char.encode("unicode_escape").decode()
        if unicodedata.category(char) in _UNSAFE or unicodedata.bidirectional(char) in _TURNING
        else char
        for char in text
    )


def cell(text: str) -> Text:
    """A cell of a table: no markup, no emoji codes, no control characters."""
    return Text(visible(text))


def print_captions(captions: list[Caption]) -> None:
    """All captions of one record."""
    table = Table("granularity", "alt text", "caption", show_lines=True)
    for caption in captions:
        raw = "with" if caption.include_datacomp_raw_cap else "without"
        table.add_row(str(caption.granularity), raw, cell(caption.text))
    Console().print(table)


def print_stats(found: dict[str, Any]) -> None:
    """What `pipelines.stats.stats` has found."""
    table = Table(show_header=False, box=None)
    for name in ("outputs", "rows_in", "rows_out", "quarantined"):
        table.add_row(name.replace("_", " "), f"{found[name]:,}")
        for reason, count in found["reasons"].items() if name == "quarantined" else ():
            table.add_row(f"  {reason}", f"{count:,}")
    for name, count in found["counts"].items():
        table.add_row(name.replace("_", " "), f"{count:,}")
    for name, damage in found["damaged"].items():
        table.add_row(cell(f"damaged {name}"), cell("; ".join(damage)))
    times = found["times"]
    table.add_row("seconds", f"{times['seconds']:,.1f} in {times['runs']} runs")
    for stage, counters in times["stages"].items():
        rate = counters.get("images", 0) / max(counters.get("working_seconds", 0), 1e-9)
        table.add_row(cell(f"stage {stage}"), f"{counters.get('images', 0):,.0f} images, {rate:.2f}/s")
    Console().print(table)
