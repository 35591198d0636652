"""Generates the model's answers to prompts of texts and images.

The loop is not that of transformers, whose heads lack the tokens beyond the language model's table, and which is slower
(`benchmarks/generate.py`). The prompts of a batch are padded on the left, so that all of them end, and continue, at the
same position.
"""

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass

import torch
from PIL import Image

from schemas.errors import UsageError
from training.batch import IGNORE_INDEX, PADDING, Batch, SampleName
from training.model.generation.beams import search_answers
from training.model.generation.decoder import Decoder
from training.model.generation.draws import RowDraws
from training.model.generation.endings import Endings, list_banned_tokens
from training.model.generation.options import GenerateOptions as GenerateOptions
from training.model.generation.sampling import sample_answers
from training.model.lmm import ResamplerLMM
from training.model.tiles import DecodedImage, TiledImage, cut_into_tiles
from training.model.tokens import TextTokenizer

Prompt = Sequence[str | int | Image.Image | DecodedImage]
"""Texts, images, and ids of special tokens, which no text can produce."""


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
    """Generates an answer to each prompt, which is the same as for the prompt alone with the same seed.

    Raises `UsageError` for a prompt that is empty or too long.
    """
    if not prompts:
        return []
    options = options or GenerateOptions()
    batch = build_prompt_batch(model, tokenizer, prompts)
    check_length(model, batch.tokens.shape[1], options)
    draws = RowDraws.for_prompts(prompts, options.seed) if options.temperature else None
    training = model.training
    model.eval()
    try:
        with torch.inference_mode():
            return generate_answers(model, tokenizer, batch.to(model.device), options, closing, draws)
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
    vision, options = model.vision, model.options.any_resolution
    if isinstance(image, DecodedImage) and image.is_thumbnail:
        options = options.reduce_to_thumbnail()
    return cut_into_tiles(image, options, vision.image_size, vision.patch_size)


def generate_answers(
    model: ResamplerLMM,
    tokenizer: TextTokenizer,
    batch: Batch,
    options: GenerateOptions,
    closing: Sequence[int] = (),
    draws: RowDraws | None = None,
) -> list[Answer]:
    """Generates an answer to each row of a batch, as `answer_batch` does, with a model in evaluation mode.

    The caller turns off gradients; in inference mode, a model that is being trained could not go on. `draws` are needed
    with a temperature.
    """
    endings = Endings(tokenizer, options, closing)
    forbidden = torch.tensor(list_banned_tokens(model.special), device=batch.tokens.device)
    flex = model.language.implementation == "flex_attention"  # it would be compiled again for each length
    with model.language.use_attention("sdpa") if flex else nullcontext():
        decoder = Decoder(model, batch, options.max_new_tokens)
        if options.beams > 1:
            answers = search_answers(decoder, forbidden, endings, options)
        else:
            answers = sample_answers(decoder, forbidden, endings, options, draws)
    lengths = (batch.segments != PADDING).sum(dim=1).tolist()
    return [_read_answer(ids, length, tokenizer, endings) for ids, length in zip(answers, lengths, strict=True)]


def _read_answer(ids: Sequence[int], prompt_tokens: int, tokenizer: TextTokenizer, endings: Endings) -> Answer:
    text = endings.read(ids)
    whole = tokenizer.decode(ids, keep_special=False) if text is None else text
    return Answer(whole, prompt_tokens, len(ids), is_complete=text is not None)
