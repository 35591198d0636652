"""Runs a model on the prompts of a batch, and then on one token after the other."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from training.batch import PADDING, Batch
from training.model.attention import build_packed_mask
from training.model.lmm import ResamplerLMM


class Decoder:
    """Computes the logits of the tokens that follow a batch of prompts, which are padded on the left."""

    def __init__(self, model: ResamplerLMM, batch: Batch, new_tokens: int) -> None:
        """Prepares for at most `new_tokens` more tokens. The batch is on the model's device."""
        from training.model.generation.cache import BlockCache  # transformers, which takes seconds to import

        self._model, self._batch = model, batch
        self._cache = BlockCache()
        self._prompt_length = self._length = batch.tokens.shape[1]
        self._positions = batch.positions[:, -1:]
        self._masks = _build_step_masks(model, batch.segments, self._length + new_tokens)

    def read_prompts(self) -> Tensor:
        """Returns the logits [B, vocabulary], float32, of the first token after each prompt."""
        model, batch = self._model, self._batch
        embeddings = model.splice(model.language.embed(batch.tokens), model.embed_images(batch), batch)
        windows = {kind: window for kind, window in model.language.find_windows().items() if self._masks}
        # What "eager" adds to scores serves sdpa too, which would convert a boolean mask to that in each layer.
        masks = {
            kind: build_packed_mask(batch.segments, "eager", embeddings.dtype, window)
            for kind, window in windows.items()
        }
        with _skip_unread_positions(model.language.layers[-1]):
            return self._compute_logits(embeddings, masks, batch.positions)

    def append(self, tokens: Tensor) -> Tensor:
        """Appends a token to each row, int64 [B]; returns the logits of the next."""
        self._length += 1
        self._positions = self._positions + 1
        masks = {kind: mask.take(self._length) for kind, mask in self._masks.items()}
        return self._compute_logits(self._model.language.embed(tokens[:, None]), masks, self._positions)

    def repeat_rows(self, times: int) -> None:
        """Repeats each row, one after the other, so that it can be continued in several ways."""
        self._cache.repeat_rows(times)
        self._positions = self._positions.repeat_interleave(times, dim=0)
        for mask in self._masks.values():
            mask.repeat_rows(times)

    def select_rows(self, rows: Tensor) -> None:
        """Replaces what was appended to each row by what was to another row of the same prompt, int64 [B]."""
        self._cache.select_rows(rows, self._prompt_length)

    def _compute_logits(self, embeddings: Tensor, masks: dict[str, Any], positions: Tensor) -> Tensor:
        """Runs the model with a mask for each kind of layer, or none; one for all layers is passed by itself."""
        mask = masks if len(masks) > 1 else next(iter(masks.values()), None)
        hidden = self._model.language(embeddings, mask, positions, self._cache)
        return self._model.language.compute_logits(hidden[:, -1]).float()


@contextmanager
def _skip_unread_positions(last: nn.Module) -> Iterator[None]:
    """Lets the last layer's feed-forward part compute the last position alone while the block lasts.

    No other output of that layer is read. Its sum with what it is added to is broadcast over the others, where it is
    wrong. Of a prompt this saves nearly as much as two thirds of a layer.
    """
    part = getattr(last, "mlp", None)
    if not isinstance(part, nn.Module):
        yield
        return
    hook = part.register_forward_pre_hook(lambda _, inputs: (inputs[0][:, -1:], *inputs[1:]))
    try:
        yield
    finally:
        hook.remove()


class _StepMask:
    """Says which positions the newest one may attend to: 0 there, the lowest value elsewhere.

    It is made once for all steps, each of which takes a longer view of it.
    """

    def __init__(self, hidden: Tensor, window: int | None, dtype: torch.dtype) -> None:
        self._lowest, self._window = torch.finfo(dtype).min, window
        self._mask = torch.zeros_like(hidden, dtype=dtype).masked_fill_(hidden, self._lowest)[:, None, None]

    def take(self, length: int) -> Tensor:
        """Returns the mask [B, 1, 1, length] of the position `length - 1`; `length` may not decrease."""
        if self._window is not None:
            self._mask[..., : max(length - self._window, 0)] = self._lowest
        return self._mask[..., :length]

    def repeat_rows(self, times: int) -> None:
        self._mask = self._mask.repeat_interleave(times, dim=0)


def _build_step_masks(model: ResamplerLMM, segments: Tensor, length: int) -> dict[str, _StepMask]:
    """Returns the masks of the newest position by kind of layer, for sequences of up to `length` positions.

    There are none where nothing is hidden: without a mask transformers takes the causal kernels of torch, which are
    faster, above all for long prompts.
    """
    windows = model.language.find_windows()
    padding = segments == PADDING
    if not bool(padding.any()) and all(window is None or window >= length for window in windows.values()):
        return {}
    hidden = functional.pad(padding, (0, length - segments.shape[1]))
    dtype = model.language.lm.dtype
    return {kind: _StepMask(hidden, window, dtype) for kind, window in windows.items()}
