"""Chooses one token after the other, the likeliest or one drawn by probability."""

from collections.abc import Sequence

import torch
from torch import Tensor

from training.model.generation.decoder import Decoder
from training.model.generation.draws import RowDraws
from training.model.generation.endings import Endings
from training.model.generation.options import GenerateOptions


def sample_answers(
    decoder: Decoder, forbidden: Tensor, endings: Endings, options: GenerateOptions, draws: RowDraws | None = None
) -> list[list[int]]:
    """Returns the tokens of an answer to each prompt, its end token included.

    `forbidden` are the ids, int64 [n], that are never chosen. `draws` are needed with a temperature.
    """
    logits = decoder.read_prompts()
    answers: list[list[int]] = [[] for _ in logits]
    open_rows = set(range(len(answers)))
    while True:
        tokens = _choose_tokens(logits.index_fill_(1, forbidden, -torch.inf), options, draws)
        _extend(answers, open_rows, tokens.tolist(), endings)
        if not open_rows or len(answers[next(iter(open_rows))]) == options.max_new_tokens:
            return answers
        logits = decoder.append(tokens)


def _extend(answers: Sequence[list[int]], open_rows: set[int], tokens: Sequence[int], endings: Endings) -> None:
    """Appends a token to each answer that is still open, and closes those that end with it."""
    for row in list(open_rows):
        answers[row].append(tokens[row])
        if endings.read(answers[row]) is not None:
            open_rows.remove(row)


def _choose_tokens(logits: Tensor, options: GenerateOptions, draws: RowDraws | None) -> Tensor:
    """Chooses one token for each row of logits [B, vocabulary]."""
    if options.temperature == 0:
        return logits.argmax(dim=-1)
    assert draws is not None
    logits = logits.double()  # a temperature near 0 exceeds the range of float32
    logits -= logits.amax(dim=-1, keepdim=True)
    ranked, ids = (logits / options.temperature).softmax(dim=-1).sort(dim=-1, descending=True, stable=True)
    before = ranked.cumsum(dim=-1) - ranked
    ends = ranked.where(before < options.top_p, 0).cumsum(dim=-1)
    whole = ends[:, -1:]
    drawn = torch.tensor(draws.draw(), dtype=ends.dtype, device=ends.device)[:, None] * whole
    last = (ends < whole).sum(dim=-1, keepdim=True)  # that has a probability: rounding may give the whole sum
    places = torch.searchsorted(ends, drawn, right=True).minimum(last)
    return ids.gather(1, places)[:, 0]
