"""A distribution as pip leaves it: a folder with modules and what they add to the program."""

import shutil
from pathlib import Path


def install(site: Path, name: str, entries: dict[str, str], *modules: Path) -> Path:
    """Puts modules into a folder for PYTHONPATH; `entries` are entry points, as `shardloom.engines shout` to a
    reference. Returns the folder."""
    details = site / f"{name}-1.0.dist-info"
    details.mkdir(parents=True)
    for module in modules:
        shutil.copy(module, site)
    (details / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    lines: list[str] = []
    for entry, reference in entries.items():
        group, entry_name = entry.split(" ")
        lines += [f"[{group}]", f"{entry_name} = {reference}"]
    (details / "entry_points.txt").write_text("\n".join([*lines, ""]))
    return site
