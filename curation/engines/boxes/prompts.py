"""Packs names into a detector's prompts ("cat. traffic light."), and maps a box's token probabilities to a name.

Grounding DINO separates phrases by the token ids of `SEPARATORS`, so a name must not contain them; they are removed
from it ("st. bernard" is searched for as "st bernard"). The position of each name's tokens is kept with the prompt, so
that boxes are never named by comparing strings.
"""

import functools
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

CLS, SEP, DOT, QUESTION = SEPARATORS = (101, 102, 1012, 1029)
"""Ids of [CLS], [SEP], "." and "?" in BERT's uncased vocabulary; the published model code has them as constants."""

Tokens = tuple[int, ...]

_CACHED_NAMES = 100_000  # a tag vocabulary is far smaller, but captions may contain any number of names


@dataclass(frozen=True, slots=True)
class Prompt:
    """Holds token ids, [CLS] first and [SEP] last, and for each name the start and stop of its tokens."""

    ids: Tokens
    names: tuple[str, ...]
    spans: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class BoxLabel:
    """Holds the name of a box. Its score is the highest probability of the name's tokens.

    `phrase` holds the tokens, of this name or others, that are above the text threshold.
    """

    label: str
    phrase: Tokens
    score: float


def build_name_tokenizer(tokenizer: Any) -> Callable[[str], Tokens]:
    """Returns a function from a name to its tokens, in lower case and without separators.

    It returns no tokens for a name that is unknown to the vocabulary. It accepts any string, and tokenises each once.
    """
    dropped = {*SEPARATORS, *tokenizer.all_special_ids} - {tokenizer.unk_token_id}

    @functools.lru_cache(_CACHED_NAMES)
    def tokenize(name: str) -> Tokens:
        text = name.lower().encode("utf-8", "replace").decode()  # a tokenizer rejects lone surrogates
        ids = tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
        kept = tuple(token for token in ids if token not in dropped)
        return kept if any(token != tokenizer.unk_token_id for token in kept) else ()

    return tokenize


def pack_prompts(
    names: Iterable[str], tokenize: Callable[[str], Tokens], max_tokens: int, max_name_tokens: int
) -> list[Prompt]:
    """Packs names by next-fit, in their order, into prompts of at most `max_tokens` tokens.

    Names without tokens are left out; of names with the same tokens the first is kept. Raises `ValueError` for a name
    that no prompt can hold: names are never cut.
    """
    prompts: list[Prompt] = []
    ids: list[int] = [CLS]
    held: list[str] = []
    spans: list[tuple[int, int]] = []

    def close() -> None:
        if held:
            prompts.append(Prompt((*ids, SEP), tuple(held), tuple(spans)))
        del ids[1:], held[:], spans[:]

    distinct: dict[Tokens, str] = {}
    for name in names:
        distinct.setdefault(tokenize(name), name)
    distinct.pop((), None)
    capacity = min(max_tokens - 3, max_name_tokens)
    for phrase, name in distinct.items():
        if len(phrase) > capacity:
            raise ValueError(f"{_shorten(name)} has {len(phrase)} tokens; a name may have {capacity}, and none is cut")
        if len(ids) + len(phrase) + 2 > max_tokens:
            close()
        spans.append((len(ids), len(ids) + len(phrase)))
        held.append(name)
        ids += [*phrase, DOT]
    close()
    return prompts


def is_name_token(prompt: Prompt) -> NDArray[np.bool_]:
    """Says which of the prompt's tokens belong to names: a box whose best token is a separator shows nothing."""
    mask = np.zeros(len(prompt.ids), np.bool_)
    for start, stop in prompt.spans:
        mask[start:stop] = True
    return mask


def label_box(prompt: Prompt, probabilities: NDArray[np.float32], text_threshold: float) -> BoxLabel | None:
    """Returns the name of a box, given the probability of each of the prompt's tokens, or None if it has none.

    It is the name with the highest mean probability among those with a token above the threshold, the first of equals.
    """
    above = (probabilities > text_threshold) & is_name_token(prompt)
    named = [number for number, (start, stop) in enumerate(prompt.spans) if above[start:stop].any()]
    if not named:
        return None
    best = max(named, key=lambda number: float(probabilities[slice(*prompt.spans[number])].mean()))
    phrase = tuple(prompt.ids[position] for position in np.flatnonzero(above))
    return BoxLabel(prompt.names[best], phrase, float(probabilities[slice(*prompt.spans[best])].max()))


def _shorten(name: str) -> str:
    return repr(name if len(name) <= 60 else f"{name[:60]}...")
