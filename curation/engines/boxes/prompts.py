"""Names to a detector's prompts ("cat. traffic light."), and a box's token probabilities back to a name.

Grounding DINO tells phrases apart by the token ids of `SEPARATORS`, so a name must hold none of them; they are left out
of it ("st. bernard" is looked for as "st bernard"). Where each name's tokens stand is kept with the prompt, so that no
box is given its name by comparing strings.
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

_CACHED_NAMES = 100_000  # a tag vocabulary is far smaller; captions may bring any number of names


@dataclass(frozen=True, slots=True)
class Prompt:
    """Token ids with [CLS] first and [SEP] last, and for each name the positions of its tokens, as start and stop."""

    ids: Tokens
    names: tuple[str, ...]
    spans: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Grounded:
    """The name of a box: its score is the highest probability of its tokens.

    `phrase` holds the tokens, of this name or others, that are above the text threshold.
    """

    label: str
    phrase: Tokens
    score: float


def name_tokens(tokenizer: Any) -> Callable[[str], Tokens]:
    """Gives a name's tokens, in lower case and without separators; none for a name of which the vocabulary knows
    nothing. Takes any string, tokenises each once."""
    dropped = {*SEPARATORS, *tokenizer.all_special_ids} - {tokenizer.unk_token_id}

    @functools.lru_cache(_CACHED_NAMES)
    def tokens(name: str) -> Tokens:
        text = name.lower().encode("utf-8", "replace").decode()  # lone surrogates are no text to a tokenizer
        ids = tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
        kept = tuple(token for token in ids if token not in dropped)
        return kept if any(token != tokenizer.unk_token_id for token in kept) else ()

    return tokens


def pack(names: Iterable[str], tokens: Callable[[str], Tokens], max_tokens: int, max_name_tokens: int) -> list[Prompt]:
    """As few prompts of at most `max_tokens` tokens as the names, in their order, fill one after another.

    Names without tokens are left out; of names with the same tokens the first is kept. Raises `ValueError` for a name
    that no prompt can hold: it is never cut.
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
        distinct.setdefault(tokens(name), name)
    distinct.pop((), None)
    room = min(max_tokens - 3, max_name_tokens)
    for phrase, name in distinct.items():
        if len(phrase) > room:
            raise ValueError(f"{_short(name)} has {len(phrase)} tokens; a name may have {room}, and none is cut")
        if len(ids) + len(phrase) + 2 > max_tokens:
            close()
        spans.append((len(ids), len(ids) + len(phrase)))
        held.append(name)
        ids += [*phrase, DOT]
    close()
    return prompts


def is_name_token(prompt: Prompt) -> NDArray[np.bool_]:
    """Whether each of the prompt's tokens belongs to a name: a box whose best token is a separator is of no thing."""
    mask = np.zeros(len(prompt.ids), np.bool_)
    for start, stop in prompt.spans:
        mask[start:stop] = True
    return mask


def ground(prompt: Prompt, probabilities: NDArray[np.float32], text_threshold: float) -> Grounded | None:
    """The name of a box whose tokens have these probabilities (one for each of the prompt's tokens).

    It is the name with the highest mean probability among those with a token above the threshold, the first of equals.
    """
    above = (probabilities > text_threshold) & is_name_token(prompt)
    named = [number for number, (start, stop) in enumerate(prompt.spans) if above[start:stop].any()]
    if not named:
        return None
    best = max(named, key=lambda number: float(probabilities[slice(*prompt.spans[number])].mean()))
    phrase = tuple(prompt.ids[position] for position in np.flatnonzero(above))
    return Grounded(prompt.names[best], phrase, float(probabilities[slice(*prompt.spans[best])].max()))


def _short(name: str) -> str:
    return repr(name if len(name) <= 60 else f"{name[:60]}...")
