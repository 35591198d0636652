"""Finds where an answer ends: at a token that no text can produce, or before a text."""

from collections.abc import Sequence

from training.model.generation.options import GenerateOptions
from training.model.tokens import SpecialTokens, TextTokenizer

_TURN_END_TOKENS = ("<|end|>", "<|im_end|>", "<|eot_id|>", "<end_of_turn>")  # in the tokenizers of chat models


def find_end_tokens(tokenizer: TextTokenizer, closing: Sequence[int] = ()) -> frozenset[int]:
    """Returns the tokens that end an answer: the usual ones, and the first of `closing` that no text can produce."""
    turns = (number for name in _TURN_END_TOKENS if (number := tokenizer.find_special_id(name)) is not None)
    special = list(filter(tokenizer.is_special, closing))
    return frozenset((tokenizer.special.end, tokenizer.special.end_of_chunk, *turns, *special[:1]))


def list_banned_tokens(special: SpecialTokens) -> list[int]:
    """Lists the tokens that must never be generated."""
    return sorted((special.image, special.placeholder, special.pad))


class Endings:
    """Recognises the end of an answer."""

    def __init__(self, tokenizer: TextTokenizer, options: GenerateOptions, closing: Sequence[int]) -> None:
        """Takes the tokens that close a turn: the first special one ends an answer, else their text does."""
        self.tokens = find_end_tokens(tokenizer, closing)
        by_text = closing and not any(map(tokenizer.is_special, closing))
        self.texts = tuple(filter(None, (*options.stop, tokenizer.decode(closing)))) if by_text else options.stop
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
