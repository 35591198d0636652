"""The format of packed sequences says how large they are and what they are made of; a run has one."""

from dataclasses import dataclass

from training.data.images import ImageShape
from training.data.markup import Markup
from training.model.tokens import TextTokenizer


@dataclass(frozen=True, slots=True)
class SequenceFormat:
    """A sequence has two budgets, positions and tiles; the rest turns samples into positions."""

    max_tokens: int  # positions
    max_tiles: int
    window: int  # samples of the mixture that are packed together
    tokenizer: TextTokenizer
    markup: Markup
    shape: ImageShape
