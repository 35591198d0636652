"""Defines a leak: a sample of a training set that shows a question of a task."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Leak:
    """Says that a sample shows a question's image, or has one of its texts."""

    set: str  # its folder
    key: str  # of the sample, with its shard: data/SHARD/KEY
    distance: int | None  # bits in which the hashes of the nearest views differ; None: no image is alike
    share: float | None  # of a text's word sequences that the sample has; None: too few, or no text to compare
    is_short: bool = False  # the text has fewer than 8 words, all of them those of a line or a sentence of the sample

    @property
    def kind(self) -> Literal["image", "text", "both"]:
        """Returns by what the sample shows the question."""
        if self.share is None:
            return "image"
        return "text" if self.distance is None else "both"
