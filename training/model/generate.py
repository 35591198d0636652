"""Generates the model's answers to prompts of texts and images.

The loop is not that of transformers, whose heads lack the tokens beyond the language model's table. The prompts of a
batch are padded on the left, so that all of them end, and continue, at the same position.
"""

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass

import torch
from PIL import Image
from pydantic import Field, NonNegativeFloat, PositiveInt
from torch import Tensor

from schemas.errors import UsageError
from schemas.output_set.options import Options
from training.batch import IGNORE_INDEX, PADDING, Batch, SampleName
from training.model.lmm import ResamplerLMM
from training.model.tiles import DecodedImage, TiledImage, cut_into_tiles
from training.model.tokens import SpecialTokens, TextTokenizer

Prompt = Sequence[str | int | Image.Image | DecodedImage]
"""Texts, images, and ids of special tokens, which no text can produce."""

_TURN_END_TOKENS = ("<|end|>", "<|im_end|>", "<|eot_id|>", "<end_of_turn>")  # in the tokenizers of chat models


class GenerateOptions(Options):
    """Sets how the next token is chosen and when to stop."""

    max_new_tokens: PositiveInt = 128
    temperature: NonNegativeFloat = Field(0, description="0: always the likeliest token")
    top_p: float = Field(
        1, gt=0, le=1, description="draw from the likeliest tokens that together have this probability"
    )
    seed: int = Field(0, description="seeds the draws; the same batch with the same seed gives the same texts")
    stop: tuple[str, ...] = Field((), description="texts before which an answer ends, besides the end tokens")


@dataclass(frozen=True, slots=True)
class Answer:
    """Holds the model's answer to a prompt."""

    text: str  # without special tokens
    prompt_tokens: int  # those of images included
    tokens: int  # generated, the end token included
    is_complete: bool  # it ended by itself; if not, the limit of new tokens cut it


def generate(
    model: ResamplerLMM,
    tokenizer: TextTokenizer,
    prompt: Prompt,
    options: GenerateOptions | None = None,
    closing: Sequence[int] = (),
) -> str:
    """Generates the answer, without special tokens. Raises `UsageError` for a prompt that is empty or too long.

    `closing` are the tokens that end an answer, besides the usual end tokens.
    """
    return generate_batch(model, tokenizer, [prompt], options, closing)[0]


def generate_batch(
    model: ResamplerLMM,
    tokenizer: TextTokenizer,
    prompts: Sequence[Prompt],
    options: GenerateOptions | None = None,
    closing: Sequence[int] = (),
) -> list[str]:
    """Generates the text of an answer to each prompt, as `answer_batch` does."""
    return [answer.text for answer in answer_batch(model, tokenizer, prompts, options, closing)]


def answer_batch(
    model: ResamplerLMM,
    tokenizer: TextTokenizer,
    prompts: Sequence[Prompt],
    options: GenerateOptions | None = None,
    closing: Sequence[int] = (),
) -> list[Answer]:
    """Generates an answer to each prompt; with temperature 0 it is the same as for the prompt alone.

    Raises `UsageError` for a prompt that is empty or too long.
    """
    if not prompts:
        return []
    options = options or GenerateOptions()
    batch = build_prompt_batch(model, tokenizer, prompts)
    check_length(model, batch.tokens.shape[1], options)
    training = model.training
    model.eval()
    try:
        with torch.inference_mode():
            return generate_answers(model, tokenizer, batch.to(model.device), options, closing)
    finally:
        model.train(training)


def check_length(model: ResamplerLMM, prompt_tokens: int, options: GenerateOptions) -> None:
    """Raises `UsageError` for a prompt of so many tokens that with its answer it exceeds the model's limit."""
    limit = getattr(model.language.lm.config, "max_position_embeddings", None)
    if limit and prompt_tokens + options.max_new_tokens > limit:
        raise UsageError(
            f"generate: a prompt of {prompt_tokens} tokens and {options.max_new_tokens} new ones exceed the model's "
            f"limit of {limit}; shorten the prompt, or pass a lower max_new_tokens"
        )


def build_prompt_batch(model: ResamplerLMM, tokenizer: TextTokenizer, prompts: Sequence[Prompt]) -> Batch:
    """Builds one batch of the prompts, padded on the left. Raises `UsageError` for an empty prompt.

    A prompt's texts are its instruction: in one of `build_chat_prompt` these are the words of the user's turn.
    """
    rows, words, pieces = [], [], []
    for number, prompt in enumerate(prompts):
        row: list[int] = []
        spoken: list[bool] = []
        for part in prompt:
            if isinstance(part, str):
                row += tokenizer.encode(part)
            elif isinstance(part, int):
                row.append(part)
            else:
                pieces.append(_cut_image(model, part))
                groups = 1 if model.options.any_resolution.fixed_sampling else len(pieces[-1][0])
                row += [tokenizer.special.image] * (groups * model.tokens_per_tile)
            spoken += [isinstance(part, str)] * (len(row) - len(spoken))
        if not row:
            raise UsageError(f"generate: prompt {number} is empty; pass a text or an image")
        rows.append(row)
        words.append(spoken)
    length = max(len(row) for row in rows)
    tokens = torch.tensor([[tokenizer.special.pad] * (length - len(row)) + row for row in rows])
    positions = torch.tensor([[0] * (length - len(row)) + list(range(len(row))) for row in rows])
    segments = torch.tensor([[PADDING] * (length - len(row)) + [0] * len(row) for row in rows])
    side, cells = model.vision.image_size, model.vision.cells
    tiles = [torch.as_tensor(tiles) for tiles, _, _ in pieces]
    valid = [torch.as_tensor(valid) for _, valid, _ in pieces]
    return Batch(
        tokens=tokens,
        labels=torch.full_like(tokens, IGNORE_INDEX),
        positions=positions,
        segments=segments,
        sources=segments,
        instructions=torch.tensor([[False] * (length - len(row)) + row for row in words]),
        tiles=torch.cat([torch.empty((0, 3, side, side), dtype=torch.uint8), *tiles]),
        valid=torch.cat([torch.empty((0, cells), dtype=torch.bool), *valid]),
        grids=torch.tensor([grid for _, _, grid in pieces], dtype=torch.int64).view(-1, 2),
        samples=tuple((SampleName("prompt", "prompt", str(number)),) for number in range(len(rows))),
    )


def _cut_image(model: ResamplerLMM, image: DecodedImage | Image.Image) -> TiledImage:
    """Cuts an image into the tiles that the model takes. Raises `UsageError` when it takes none."""
    if model.options.vision is None:
        raise UsageError("generate: this model has no vision tower and takes no images; pass a text alone")
    vision = model.vision
    return cut_into_tiles(image, model.options.any_resolution, vision.image_size, vision.patch_size)


def find_end_tokens(tokenizer: TextTokenizer, closing: Sequence[int] = ()) -> set[int]:
    """Returns the tokens that end an answer: the usual ones, and the first of `closing` that no text can produce."""
    turns = (number for name in _TURN_END_TOKENS if (number := tokenizer.find_special_id(name)) is not None)
    special = list(filter(tokenizer.is_special, closing))
    return {tokenizer.special.end, tokenizer.special.end_of_chunk, *turns, *special[:1]}


def list_banned_tokens(special: SpecialTokens) -> list[int]:
    """Lists the tokens that must never be generated."""
    return sorted((special.image, special.placeholder, special.pad))


def generate_answers(
    model: ResamplerLMM, tokenizer: TextTokenizer, batch: Batch, options: GenerateOptions, closing: Sequence[int] = ()
) -> list[Answer]:
    """Generates an answer to each row of a batch, as `answer_batch` does, with a model in evaluation mode.

    The caller turns off gradients; in inference mode, a model that is being trained could not go on.
    """
    special = list(filter(tokenizer.is_special, closing))
    ends = find_end_tokens(tokenizer, closing)
    stops = options.stop if special or not closing else (*options.stop, tokenizer.decode(closing))
    flex = model.language.implementation == "flex_attention"  # it would be compiled again for each length
    lengths = (batch.segments != PADDING).sum(dim=1).tolist()
    answers: list[list[int]] = [[] for _ in batch.samples]
    texts: list[str | None] = [None for _ in answers]
    with model.language.use_attention("sdpa") if flex else nullcontext():
        for tokens in _generate_tokens(model, batch, options):
            for row, token in enumerate(tokens.tolist()):
                if texts[row] is not None:
                    continue
                answers[row].append(token)
                if token in ends:
                    texts[row] = tokenizer.decode(answers[row][:-1], keep_special=False)
                elif stops:
                    text = tokenizer.decode(answers[row], keep_special=False)
                    cuts = [at for stop in stops if (at := text.find(stop)) >= 0]
                    texts[row] = text[: min(cuts)] if cuts else None
            if None not in texts:
                break
    return [
        Answer(tokenizer.decode(ids, keep_special=False) if text is None else text, length, len(ids), text is not None)
        for text, length, ids in zip(texts, lengths, answers, strict=True)
    ]


def _generate_tokens(model: ResamplerLMM, batch: Batch, options: GenerateOptions) -> Iterator[Tensor]:
    """Yields the next token of each row, int64 [B], up to `max_new_tokens` times."""
    from transformers import DynamicCache

    language, segments, positions = model.language, batch.segments, batch.positions
    embeddings = model.splice(language.embed(batch.tokens), model.embed_images(batch), batch)
    mask = language.build_mask(segments, embeddings.dtype)
    cache = DynamicCache()  # holds all positions, even with a sliding window, which the mask applies
    draws = torch.Generator(segments.device).manual_seed(options.seed)
    banned = list_banned_tokens(model.special)
    for _ in range(options.max_new_tokens):
        hidden = language(embeddings, mask, positions, cache)
        logits = language.compute_logits(hidden[:, -1]).float()
        logits[:, banned] = -torch.inf
        tokens = _sample_tokens(logits, options, draws)
        yield tokens
        embeddings = language.embed(tokens[:, None])
        segments = torch.nn.functional.pad(segments, (0, 1), value=0)
        positions = positions[:, -1:] + 1
        mask = language.build_mask(segments, embeddings.dtype, last_queries=1)


def _sample_tokens(logits: Tensor, options: GenerateOptions, generator: torch.Generator) -> Tensor:
    """Chooses one token for each row of logits [B, vocabulary]."""
    if options.temperature == 0:
        return logits.argmax(dim=-1)
    ranked, ids = (logits / options.temperature).softmax(dim=-1).sort(dim=-1, descending=True)
    before = ranked.cumsum(dim=-1) - ranked
    drawn = torch.multinomial(ranked.where(before < options.top_p, 0), 1, generator=generator)
    return ids.gather(1, drawn)[:, 0]
