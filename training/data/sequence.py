"""What packed sequences are made of and how large they are: the same for all of a run."""

from dataclasses import dataclass

from training.data.images import ImageShape
from training.data.markup import Markup
from training.model.tokens import TextTokenizer


@dataclass(frozen=True, slots=True)
class SequenceFormat:
    """The two budgets of a sequence, and what turns samples into its positions."""

    max_tokens: int  # positions
    max_tiles: int
    window: int  # samples of the mixture that are packed together
    tokenizer: TextTokenizer
    markup: Markup
    shape: ImageShape
