"""Searches for the likeliest answer by beam search, with the rules of transformers' `generate(num_beams=...)`.

Several beginnings are continued at once. An answer's score is its mean log-probability by token, the end token
included. A search ends when as many answers are finished as there are beams, and the best beginning scores less than
the worst of them (`early_stopping=False`, `length_penalty=1`). Prompts are read once, rather than once for each beam.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from training.model.generation.decoder import Decoder
from training.model.generation.endings import Endings
from training.model.generation.options import GenerateOptions

_EXCLUDED = -1e9  # the score of what can't be chosen; as in transformers


@dataclass(frozen=True, slots=True)
class _Hypotheses:
    """Holds n beginnings, or finished answers, of each of B prompts, the best first."""

    tokens: Tensor  # int64 [B, n, longest answer]
    lengths: Tensor  # int64 [B, n]
    scores: Tensor  # float32 [B, n]: sums of log-probabilities; of finished answers means

    def take(self, places: Tensor) -> "_Hypotheses":
        """Returns those at the places [B, m]."""
        tokens = self.tokens.take_along_dim(places[..., None], dim=1)
        return _Hypotheses(tokens, self.lengths.gather(1, places), self.scores.gather(1, places))

    def keep_best(self, other: "_Hypotheses") -> "_Hypotheses":
        """Returns the best of these and others, as many as these."""
        tokens = torch.cat((self.tokens, other.tokens), dim=1)
        lengths, scores = torch.cat((self.lengths, other.lengths), 1), torch.cat((self.scores, other.scores), 1)
        return _Hypotheses(tokens, lengths, scores).take(scores.topk(self.scores.shape[1])[1])


def search_answers(decoder: Decoder, forbidden: Tensor, endings: Endings, options: GenerateOptions) -> list[list[int]]:
    """Returns the tokens of the best answer to each prompt, its end token included.

    `forbidden` are the ids, int64 [n], that are never chosen.
    """
    logits = decoder.read_prompts()
    search = _Search(len(logits), logits.device, endings, options)
    decoder.repeat_rows(options.beams)
    logits = logits.repeat_interleave(options.beams, dim=0)
    for step in range(options.max_new_tokens):
        likelihoods = logits.log_softmax(dim=-1).index_fill_(1, forbidden, -torch.inf)
        rows, tokens, is_over = search.advance(likelihoods, step)
        if is_over:
            break
        decoder.select_rows(rows)
        logits = decoder.append(tokens)
    return search.read_answers()


class _Search:
    """Holds the beginnings and the finished answers of a batch of prompts."""

    def __init__(self, prompts: int, device: torch.device, endings: Endings, options: GenerateOptions) -> None:
        self._beams, self._limit = options.beams, options.max_new_tokens
        self._has_stopped: Callable[[list[int]], bool] | None = None
        if endings.texts:
            self._has_stopped = lambda ids: endings.read(ids) is not None
        self._ends = torch.tensor(sorted(endings.tokens), device=device)
        shape = (prompts, self._beams)
        tokens = torch.zeros((*shape, self._limit), dtype=torch.int64, device=device)
        lengths = torch.zeros(shape, dtype=torch.int64, device=device)
        scores = torch.full(shape, _EXCLUDED, device=device)
        self._finished = _Hypotheses(tokens, lengths, scores)
        scores = scores.clone()
        scores[:, 0] = 0  # all beams are the same prompt at first: the others would only repeat the first one's tokens
        self._running = _Hypotheses(tokens, lengths, scores)
        self._can_improve = torch.ones((prompts, 1), dtype=torch.bool, device=device)
        self._row_starts = torch.arange(prompts, device=device)[:, None] * self._beams

    def advance(self, likelihoods: Tensor, step: int) -> tuple[Tensor, Tensor, bool]:
        """Continues each beginning by the log-probabilities [B * beams, vocabulary] of its next token.

        Returns the row that each beginning comes from and its last token, int64 [B * beams], and whether the search is
        over.
        """
        candidates, parents = self._find_candidates(likelihoods, step)
        has_ended = self._find_ended(candidates, step)
        open_scores = candidates.scores + has_ended * _EXCLUDED
        best = open_scores.topk(self._beams)[1]
        self._running = _Hypotheses(candidates.tokens, candidates.lengths, open_scores).take(best)
        closing = has_ended.clone()
        closing[:, self._beams :] = False  # an answer that is not among the best now does not end up among them
        scores = candidates.scores / (step + 1) + (~self._can_improve) * _EXCLUDED + (~closing) * _EXCLUDED
        self._finished = self._finished.keep_best(_Hypotheses(candidates.tokens, candidates.lengths, scores))
        # An entry that is not a finished answer has a score of about `_EXCLUDED`, and so can always be improved on.
        worst = self._finished.scores.min(dim=1, keepdim=True)[0]
        self._can_improve &= self._running.scores[:, :1] / (step + 1) > worst
        is_over = not bool(self._can_improve.any()) or bool(has_ended.all())
        rows = parents.gather(1, best) + self._row_starts
        return rows.flatten(), self._running.tokens[:, :, step].flatten(), is_over

    def read_answers(self) -> list[list[int]]:
        """Returns the tokens of the best finished answer to each prompt."""
        tokens, lengths = self._finished.tokens[:, 0].tolist(), self._finished.lengths[:, 0].tolist()
        return [ids[:length] for ids, length in zip(tokens, lengths, strict=True)]

    def _find_candidates(self, likelihoods: Tensor, step: int) -> tuple[_Hypotheses, Tensor]:
        """Returns the best continuations, and the beam of each, int64 [B, n].

        They are so many that, whatever end tokens they end with, as many as there are beams go on.
        """
        vocabulary = likelihoods.shape[1]
        totals = likelihoods.view(*self._running.scores.shape, vocabulary) + self._running.scores[..., None]
        wanted = max(2, 1 + len(self._ends)) * self._beams
        scores, places = totals.flatten(1).topk(min(wanted, self._beams * vocabulary))
        parents = places // vocabulary
        tokens = self._running.tokens.take_along_dim(parents[..., None], dim=1)
        tokens[:, :, step] = places % vocabulary
        return _Hypotheses(tokens, torch.full_like(parents, step + 1), scores), parents

    def _find_ended(self, candidates: _Hypotheses, step: int) -> Tensor:
        """Returns which candidates go no further, bool [B, n]: by their last token, by a text, or by the limit."""
        if step + 1 == self._limit:
            return torch.ones_like(candidates.lengths, dtype=torch.bool)
        ended = torch.isin(candidates.tokens[:, :, step], self._ends)
        if self._has_stopped is not None:
            rows = candidates.tokens[:, :, : step + 1].tolist()
            stopped = [[self._has_stopped(ids) for ids in row] for row in rows]
            ended |= torch.tensor(stopped, device=ended.device)
        return ended
