"""Defines the format of a run's packed sequences: their size, and how samples become positions."""

from dataclasses import dataclass

from training.data.images import ImageTiler
from training.data.markup import Markup
from training.model.tokens import TextTokenizer


@dataclass(frozen=True, slots=True)
class SequenceFormat:
    """Holds a sequence's two budgets, positions and tiles, and what turns samples into positions."""

    max_tokens: int  # positions
    max_tiles: int
    window: int  # samples of the mixture that are packed together
    tokenizer: TextTokenizer
    markup: Markup
    tiler: ImageTiler
