"""Judges choices by their perplexity: the model's answer is the one whose tokens it finds likeliest on average."""

from collections.abc import Sequence
from contextlib import nullcontext
from itertools import islice, takewhile

import torch

from schemas.errors import UsageError
from training.model.generate import GenerateOptions, Prompt, build_prompt_batch, check_length
from training.model.lmm import ResamplerLMM
from training.model.tokens import TextTokenizer

_LAST_TOKEN = GenerateOptions(max_new_tokens=1)  # the limit of positions is checked as for one more token


def compute_choice_losses(
    model: ResamplerLMM, tokenizer: TextTokenizer, prompt: Prompt, choices: Sequence[str]
) -> list[float]:
    """Returns the mean loss by token, in nats, of each choice after the prompt.

    A choice is encoded together with the text at the prompt's end, if there is one, because training encodes a text as
    a whole. Raises `UsageError` for a prompt that is empty or too long, and for a choice without tokens.
    """
    rows, sizes = [], []
    for choice in choices:
        row, size = _append_choice(prompt, choice, tokenizer)
        rows.append(row)
        sizes.append(size)
    batch = build_prompt_batch(model, tokenizer, rows)
    check_length(model, batch.tokens.shape[1], _LAST_TOKEN)
    width = max(sizes)
    wanted = torch.tensor([[place >= width - size for place in range(width)] for size in sizes])
    mask = torch.zeros_like(batch.tokens, dtype=torch.bool)
    mask[:, -width - 1 : -1] = wanted  # a token is predicted from the position before it
    flex = model.language.implementation == "flex_attention"  # it would be compiled again for each length
    with torch.inference_mode(), model.language.use_attention("sdpa") if flex else nullcontext():
        logits = model(batch.to(model.device), mask.to(model.device)).double()
    targets = batch.tokens[:, -width:][wanted].to(logits.device)
    losses = iter(torch.nn.functional.cross_entropy(logits, targets, reduction="none").tolist())
    return [sum(islice(losses, size)) / size for size in sizes]


def _append_choice(prompt: Prompt, choice: str, tokenizer: TextTokenizer) -> tuple[Prompt, int]:
    """Returns the prompt with the choice, and the number of tokens that the choice adds or changes."""
    text = last if prompt and isinstance(last := prompt[-1], str) else ""
    before = prompt[:-1] if text else prompt
    alone, joined = tokenizer.encode(text), tokenizer.encode(text + choice)
    shared = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(alone, joined, strict=False)))
    if not before and not shared:
        raise UsageError("evaluate: the prompt is empty; give the task a question or an image")
    if shared == len(joined):
        raise UsageError(f"evaluate: the choice {choice!r} has no tokens")
    return [*before, *joined], len(joined) - shared
