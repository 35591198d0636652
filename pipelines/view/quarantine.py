"""Shows some of the rows that a command left out: their reasons, and their pictures where they can be decoded."""

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from pipelines.view.image_shards import ImageShards
from pipelines.view.page import Card, Section, make_text
from pipelines.view.parquet_files import find_file, list_tars, read_file
from pipelines.view.source import SetSource
from pipelines.view.thumbnails import Thumbnails
from schemas.output_set.layout import QUARANTINE

SHOWN = 24  # quarantined rows; every reason has some
_FILES = 8  # quarantine files that are read for them, and tars for their pictures

Row = Mapping[str, Any]


def choose_quarantined(source: SetSource) -> list[tuple[str, Row]]:
    """Returns some quarantined rows with the names of their outputs: of each reason in turn, up to `SHOWN`."""
    by_reason: dict[str, list[tuple[str, Row]]] = defaultdict(list)
    for name in _choose_files(source):
        for row in read_file(source, name, QUARANTINE).to_pylist():
            if len(by_reason[row["reason"]]) < SHOWN:
                by_reason[row["reason"]].append((name, row))
    chosen = [found[turn] for turn in range(SHOWN) for _, found in sorted(by_reason.items()) if turn < len(found)]
    return chosen[:SHOWN]


def _choose_files(source: SetSource) -> list[str]:
    """Returns the names of up to `_FILES` outputs with quarantined rows: first those that bring another reason."""
    seen: set[str] = set()
    first: list[str] = []
    others: list[str] = []
    for name, manifest in source.manifests.items():
        file = find_file(manifest, QUARANTINE)
        if file is not None and file.rows:
            (others if manifest.reasons.keys() <= seen else first).append(name)
            seen |= manifest.reasons.keys()
    return [*first, *others][:_FILES]


def show_quarantine(
    source: SetSource, chosen: list[tuple[str, Row]], images: ImageShards, thumbnails: Thumbnails
) -> list[Section]:
    """Returns the section of the chosen rows; none without any."""
    keys: dict[str, set[str]] = defaultdict(set)
    for name, row in chosen:
        keys[name].add(row["key"])
    found = {name: _read_images(source, name, images, wanted) for name, wanted in keys.items()}
    cards = []
    for name, row in chosen:
        data = found[name].get(row["key"])
        reason = make_text(row["reason"], row["detail"])
        blocks = (reason,) if data is None else (thumbnails.make(data, row["key"]), reason)
        cards.append(Card(f"{name}/{row['key']}", blocks, (("stage", row["stage"]),)))
    if not cards:
        return []
    reasons, shown = len(source.totals.reasons), len({row["reason"] for _, row in chosen})
    some = "every reason" if shown >= reasons else f"{shown} of {reasons} reasons"
    note = f"{len(cards):,} of {source.totals.quarantined:,} rows that were left out, some of {some}"
    return [Section("Quarantined", tuple(cards), note, is_dense=True, holds_samples=False)]


def _read_images(source: SetSource, name: str, images: ImageShards, keys: set[str]) -> dict[str, bytes]:
    """Returns the images of quarantined rows of one output, which is named after its shard if it has only one."""
    tars = list_tars(source.manifests[name])
    return images.read(tars, name, keys) if len(tars) == 1 else images.read_from_any(tars, keys)
