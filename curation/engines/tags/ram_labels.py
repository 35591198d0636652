"""Reads the labels of the RAM tagger: the names of its tags and the score above which each tag is kept.

The files are those of the published code. Their lines are in the order of the checkpoint, so no line is skipped, and
two tags may consist of the same words ("t shirt" and "t-shirt").
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from curation.engines.tags.ram_settings import RamTagSettings
from curation.engines.tags.vocabulary import find_name_problem, read_lines
from schemas.errors import UsageError


@dataclass(frozen=True, slots=True)
class RamLabels:
    """Holds the tags in the order of the checkpoint."""

    names: tuple[str, ...]
    limits: NDArray[np.float32]  # a tag is kept if its score is above
    sha256: str  # of the file of names
    thresholds_sha256: str | None  # of the file of thresholds, if there is one


def read_labels(settings: RamTagSettings) -> RamLabels:
    """Reads both files. Raises `UsageError` for a missing or faulty file, with the line."""
    if settings.vocabulary is None:
        raise UsageError(
            "ram: pass vocabulary=FILE with the tags of the weights, one per line: ram_tag_list.txt of the code that "
            "the weights are published with"
        )
    names, sha256 = _read_entries(settings.vocabulary, "vocabulary", "tag")
    lines: dict[str, int] = {}
    for number, name in enumerate(names, 1):
        problem = find_name_problem(name)
        if problem is None and name in lines:
            problem = f"{name!r} is on line {lines[name]} already; pass the list of the weights as it is published"
        if problem is not None:
            raise UsageError(f"vocabulary {settings.vocabulary}, line {number}: {problem}")
        lines[name] = number
    if settings.thresholds is None:
        return RamLabels(tuple(names), np.full(len(names), settings.floor, np.float32), sha256, None)
    texts, thresholds_sha256 = _read_entries(settings.thresholds, "thresholds", "threshold")
    if len(texts) != len(names):
        raise UsageError(
            f"thresholds {settings.thresholds}: {len(texts)} lines for {len(names)} tags; put one threshold on each "
            "line, in the order of the tags"
        )
    limits = [_parse_threshold(settings.thresholds, number, text) for number, text in enumerate(texts, 1)]
    return RamLabels(tuple(names), np.array(limits, np.float32), sha256, thresholds_sha256)


def _read_entries(path: str, option: str, entry: str) -> tuple[list[str], str]:
    lines, sha256 = read_lines(path, option, entry)
    while lines and not lines[-1]:
        lines.pop()
    if not lines:
        raise UsageError(f"{option} {path}: the file is empty; put one {entry} on each line")
    return lines, sha256


def _parse_threshold(path: str, number: int, text: str) -> float:
    try:
        threshold = float(text)
    except ValueError:
        threshold = np.nan
    if not 0 <= threshold <= 1:  # also a NaN
        raise UsageError(f"thresholds {path}, line {number}: {text[:40]!a} is no number from 0 to 1; correct the line")
    return threshold
