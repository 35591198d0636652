"""Chooses one token after the other, the likeliest or one drawn by probability."""

from collections.abc import Sequence

import torch
from torch import Tensor

from training.model.generation.decoder import Decoder
from training.model.generation.endings import Endings
from training.model.generation.options import GenerateOptions


def sample_answers(decoder: Decoder, forbidden: Tensor, endings: Endings, options: GenerateOptions) -> list[list[int]]:
    """Returns the tokens of an answer to each prompt, its end token included.

    `forbidden` are the ids, int64 [n], that are never chosen.
    """
    logits = decoder.read_prompts()
    draws = torch.Generator(logits.device).manual_seed(options.seed)
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


def _choose_tokens(logits: Tensor, options: GenerateOptions, generator: torch.Generator) -> Tensor:
    """Chooses one token for each row of logits [B, vocabulary]."""
    if options.temperature == 0:
        return logits.argmax(dim=-1)
    ranked, ids = (logits / options.temperature).softmax(dim=-1).sort(dim=-1, descending=True)
    before = ranked.cumsum(dim=-1) - ranked
    drawn = torch.multinomial(ranked.where(before < options.top_p, 0), 1, generator=generator)
    return ids.gather(1, drawn)[:, 0]
