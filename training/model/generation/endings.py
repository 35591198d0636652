"""Finds where an answer ends: at a token that no text can produce, or before a text."""

from collections.abc import Sequence

from training.model.generation.options import GenerateOptions
from training.model.tokens import TextTokenizer

_TURN_END_TOKENS = ("<|end|>", "<|im_end|>", "<|eot_id|>", "<end_of_turn>")  # in the tokenizers of chat models


class Endings:
    """Recognises the end of an answer."""

    def __init__(self, tokenizer: TextTokenizer, options: GenerateOptions, closing: Sequence[int]) -> None:
        """Takes the tokens that close a turn: the first special one ends an answer, else their text does."""
        special = list(filter(tokenizer.is_special, closing))
        found = (
            tokenizer.special.end,
            tokenizer.special.end_of_chunk,
            *map(tokenizer.find_special_id, _TURN_END_TOKENS),
            *special[:1],
        )
        self.tokens = frozenset(token for token in found if token is not None)
        self.texts = options.stop if special or not closing else (*options.stop, tokenizer.decode(closing))
        self._tokenizer = tokenizer

    def read(self, ids: Sequence[int]) -> str | None:
        """Returns the text of an answer that ends with the last of its tokens; None if it goes on."""
        if ids[-1] in self.tokens:
            return self._tokenizer.decode(ids[:-1], keep_special=False)
        if not self.texts:
            return None
        text = self._tokenizer.decode(ids, keep_special=False)
        cuts = [at for stop in self.texts if (at := text.find(stop)) >= 0]
        return text[: min(cuts)] if cuts else None
